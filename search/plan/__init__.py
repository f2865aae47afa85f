"""``python -m search.plan``: a search and a retraining that suit photos and a budget."""
