"""The making of nano: drawn shapes, training data, the initial training of vision and audio, and the figures of its
card.

Run the modules from the root of the repository, as `python -m recipes.nano.steps`; `recipes/train_nano.sh` does.
"""
