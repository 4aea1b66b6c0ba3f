"""Check what a model says: is an explanation true to its label, to the measurements, and to itself?"""
