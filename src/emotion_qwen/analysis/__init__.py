"""Engine and clip to report."""
