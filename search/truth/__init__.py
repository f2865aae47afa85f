"""``mnasnet compare --truth``: searches on accuracies that others have measured."""
