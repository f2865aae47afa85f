"""Finds an architecture: an RNN controller samples paths of the supernet."""
