"""What a network can be, what it costs, and the weights that all candidates share."""
