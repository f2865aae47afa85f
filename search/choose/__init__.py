"""``mnasnet choose``: later questions, answered from a finished search."""
