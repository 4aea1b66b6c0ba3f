"""Writes video files."""
