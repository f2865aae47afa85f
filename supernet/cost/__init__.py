"""What a network costs: counts in closed form, the parts that a device is timed on. No torch."""
