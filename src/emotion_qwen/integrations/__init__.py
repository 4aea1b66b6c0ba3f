"""Adapters for other programs. Each is loaded only by that program and adds no dependencies."""
