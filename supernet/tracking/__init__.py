"""Tracking: what Weights & Biases is told of a run, offline unless asked otherwise."""
