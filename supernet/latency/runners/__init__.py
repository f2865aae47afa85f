"""Runners for ``--backend command``: programs that time a model file on a device elsewhere."""
