"""``mnasnet card``: the trained network as a folder for a hub, with its model card."""
