"""Expressions for generated faces: from an emotion to a track of facial actions, and from the track to files."""
