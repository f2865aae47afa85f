"""``mnasnet plan``: a search and a retraining that suit photos and a budget."""
