"""What a network takes on a device: measured, kept as a table of layers, and predicted."""
