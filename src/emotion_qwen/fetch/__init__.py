"""Parts that are not in the package: got once, checked, and kept whole in the cache."""
