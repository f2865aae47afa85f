"""How one network is trained alone, judged, and described by a config."""
