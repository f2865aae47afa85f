"""surrogate.json as a search writes it, for what reads it."""

import numpy as np


def content(targets=("p40",)):
    """What a search of 48 labels and 12 finalists for each target writes."""
    random = np.random.default_rng(0)
    losses = 2.4 + 0.05 * random.normal(size=48)
    labels = [
        {
            "round": 0 if place < 32 else 1 + place // 40,
            "origin": "proposed" if place >= 32 and place % 4 else "uniform",
            "target": place % len(targets),
            "cost": 1.0 + place / 5000,
            "loss": loss,
            "accuracy": 0.2,
            "predicted_loss": loss,
            "left_out_loss": 2.4 + 0.5 * (loss - 2.4),
            "arch": [0, 1],
        }
        for place, loss in enumerate(losses.tolist())
    ]
    finalists = [
        {
            "target": target,
            "chosen": place == 3,
            "cost": 1.0 + target / 10,
            "loss": 2.1 + 0.02 * place + 0.1 * target,
            "accuracy": 0.3,
            "val_accuracy": 0.35,
            "predicted_loss": 2.3 + 0.01 * (place * 7 % 12),
            "arch": [0, 1],
        }
        for target in range(len(targets))
        for place in range(12)
    ]
    points = [
        {"change": "each conv layer instead of the mean op", "points": 0.5, "error": 0.1},
        {"change": "one more layer", "points": -0.2, "error": 0.3},
    ]
    return {
        "shared_steps": 0,
        "label_steps": 10,
        "final_steps": 40,
        "targets": list(targets),
        "penalty": 10.0,
        "leave_one_out": {"error": 0.031, "error_of_mean": 0.05},
        "expected": {},
        "points": points,
        "labels": labels,
        "finalists": finalists,
    }
