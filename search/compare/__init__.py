"""``python -m search.compare``: what a controller and a search are worth."""
