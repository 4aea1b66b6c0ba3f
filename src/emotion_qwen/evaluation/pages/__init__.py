"""Pages and figures of scores."""
