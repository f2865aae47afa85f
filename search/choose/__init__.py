"""``python -m search choose``: later questions, answered from a finished search."""
