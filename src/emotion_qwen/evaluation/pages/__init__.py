"""Scores as pages and figures."""
