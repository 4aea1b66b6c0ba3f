"""Parts that are not in the package: downloaded once, checked, and stored completely in the cache."""
