"""Check a model's text: is an explanation faithful to its label, to the measurements, and to itself?"""
