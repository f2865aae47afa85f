"""Measurements behind the figures in docs/; each is a command that prints a table."""
