"""``mnasnet rank``: how well scores rank networks that are trained alone."""
