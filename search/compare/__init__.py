"""``mnasnet compare``: what a controller and a search are worth."""
