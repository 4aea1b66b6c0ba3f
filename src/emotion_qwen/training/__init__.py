"""Train models with transformers' `Trainer`, stage by stage."""
