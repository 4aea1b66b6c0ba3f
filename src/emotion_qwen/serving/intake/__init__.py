"""What callers send, decoded in processes of their own."""
