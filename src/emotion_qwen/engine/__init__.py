"""A loaded model that scores given answers and generates text, independent of emotions."""
