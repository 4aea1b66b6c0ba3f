"""Task files of lmms-eval; no code."""
