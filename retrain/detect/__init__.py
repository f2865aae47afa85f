"""``mnasnet detect``: boxes on the features of any network."""
