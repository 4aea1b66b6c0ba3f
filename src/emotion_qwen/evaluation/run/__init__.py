"""From settings to answers and scores."""
