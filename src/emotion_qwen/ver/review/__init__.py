"""Reviewers and their decisions."""
