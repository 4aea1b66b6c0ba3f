"""Scheduling of the model among requests: continuous batching, paged cache, turns."""
