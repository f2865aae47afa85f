"""``python -m retrain.detect``: boxes on the features of any network."""
