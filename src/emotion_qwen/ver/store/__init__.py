"""The data that a build stores."""
