"""Formats: the files that a network can be shipped as, one module for each runtime."""
