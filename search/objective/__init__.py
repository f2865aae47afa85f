"""Objective of a search: costs, targets, constraints, rewards, and what a space can reach."""
