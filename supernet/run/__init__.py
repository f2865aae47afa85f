"""Runs: a folder, the command line that fills it, and what every training does."""
