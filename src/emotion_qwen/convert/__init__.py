"""Checkpoints of others as folders of ours."""
