"""Networks that others have trained on other data: what a search is worth on their accuracies.

``python -m benchmarks.outside_truth --accel PATH/networks.csv`` runs whole searches of which only
the tunings are simulated; ``--features`` asks which counts of a network a few trainings can weigh.
docs/outside-truth.md says where the tables come from and what was found.
"""
