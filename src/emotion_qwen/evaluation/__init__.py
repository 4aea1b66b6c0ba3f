"""Measure models on closed questions and compare them: tasks, predictions that can be resumed, metrics, forgetting."""
