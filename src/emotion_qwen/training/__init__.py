"""Training on transformers' `Trainer`: the start of the vision transformer, and tuning."""
