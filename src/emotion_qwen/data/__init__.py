"""Labelled pictures and questions about them, to training batches."""
