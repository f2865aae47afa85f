"""The end of a search: from a policy to one network for each target."""
