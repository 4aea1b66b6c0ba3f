"""Models that describe clips, and the evidence that they are given."""
