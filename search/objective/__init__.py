"""What a search is after: costs, targets, constraints, rewards, and what a space can reach."""
