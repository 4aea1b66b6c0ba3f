"""Models that describe, and what they are shown."""
