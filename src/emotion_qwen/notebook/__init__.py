"""The package in Python sessions and notebooks: reports with methods for display, tables, plots and files."""
