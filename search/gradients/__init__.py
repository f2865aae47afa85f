"""Gradients of a search over several devices: of the slices that one of them has trained."""
