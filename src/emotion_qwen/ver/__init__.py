"""Build a Video Emotion Reasoning set: from raw videos to reviewed, bilingual training data."""
