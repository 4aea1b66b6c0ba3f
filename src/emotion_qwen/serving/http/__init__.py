"""Routes, bodies and answers."""
