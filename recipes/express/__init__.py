"""Recipe of the learned expression generator: extraction, judges, training, measures."""
