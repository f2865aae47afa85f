"""Files: read with one line about what is wrong, written whole or not at all. No torch."""
