"""A loaded model: it scores words and writes; it knows nothing of emotions."""
