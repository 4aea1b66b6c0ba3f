"""Analyze many clips and store the results."""
