"""Image files: found in folders, indexed by content, read as pixels. No torch."""
