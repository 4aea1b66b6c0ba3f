"""The steps from videos to descriptions."""
