"""Files: read with one line about what is wrong, written whole, by one process. No torch."""
