"""The recipe that makes `mini` and the eyes that `nano` shares with it."""
