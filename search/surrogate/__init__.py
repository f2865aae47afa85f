"""The surrogate of a search: a regression on counts, fitted to short tunings of a few networks."""
