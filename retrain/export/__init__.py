"""``python -m retrain.export``: the trained network as files."""
