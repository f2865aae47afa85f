"""Trains the chosen architecture from scratch and ships it."""
