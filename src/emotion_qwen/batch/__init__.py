"""Many clips, and what is kept of them."""
