"""The recipe that makes `mini`, and the vision transformer that `nano` shares with it."""
