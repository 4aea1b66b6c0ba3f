"""The package in Python sessions and notebooks: reports that show, tabulate, draw and save themselves."""
