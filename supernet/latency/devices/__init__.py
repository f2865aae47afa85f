"""Devices: what loads networks and times single runs of them."""
