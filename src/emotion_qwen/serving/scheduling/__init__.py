"""Who uses the model when."""
