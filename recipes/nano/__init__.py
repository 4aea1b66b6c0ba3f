"""How nano is made: drawn shapes, lessons, the start of its vision and hearing, and the figures of its card.

Run the modules from the root of the repository, as `python -m recipes.nano.steps`; `recipes/train_nano.sh` does.
"""
