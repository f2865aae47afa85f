"""Costs of a network: closed forms, and the layers that a device is timed on. No torch."""
