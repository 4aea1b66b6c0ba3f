"""Adapters for programs of others. Each is loaded by that program only, and adds nothing to our dependencies."""
