"""Settings to answers and scores."""
