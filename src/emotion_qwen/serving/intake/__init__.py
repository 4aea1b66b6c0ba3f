"""Media of requests: fetched, and decoded in separate processes."""
