"""Turn the answers of a model about a clip into a report."""
