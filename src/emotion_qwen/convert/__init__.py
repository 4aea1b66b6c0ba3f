"""Conversion of other checkpoints to folders of this package."""
