"""``mnasnet export``: the trained network as files."""
