"""What a search tells of itself while it runs: health, alarms, what it has spent."""
