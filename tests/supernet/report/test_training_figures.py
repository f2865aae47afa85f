"""Figures of a retraining: curves of what metrics.csv holds, and the confusion of its test."""

import numpy as np
import pytest

from supernet.report.predictions import Confusion, Prediction
from supernet.report.training_figures import best_of, draw_confusion, draw_training, judged_by
from tests.search.test_figures import texts

NAN = float("nan")


def metrics(**columns):
    """Six steps of a training, validated after each second one."""
    steps = {"step": range(6), "train/loss": [2, 1.8, 1.5, 1.2, 1, 0.9], "lr": [0.1] * 6}
    return {name: np.array(values, float) for name, values in {**steps, **columns}.items()}


def test_of_equal_validations_the_latest_is_the_best():
    known = metrics(**{"val/accuracy": [NAN, 0.5, NAN, 0.75, NAN, 0.75]})
    assert best_of(known, "val/accuracy") == (5, 0.75)


@pytest.mark.parametrize(
    ("columns", "titles"),
    [
        ({}, {"Loss", "Learning rate"}),
        ({"val/accuracy": [NAN] * 6}, {"Loss", "Learning rate"}),
        (
            {"val/accuracy": [NAN, 0.5] * 3, "val/loss": [NAN, 1.0] * 3},
            {"Loss", "Validation accuracy", "Learning rate"},
        ),
        (
            {"val/accuracy": [NAN, 0.5] * 3, "train/accuracy": [0.1] * 6, "val/loss": [1.0] * 6},
            {"Loss", "Accuracy", "Learning rate"},
        ),
        ({"train/accuracy": [0.1] * 6}, {"Loss", "Learning rate"}),
        ({"val/map": [NAN, 0.5] * 3}, {"Loss", "Validation average precision", "Learning rate"}),
    ],
)
def test_a_training_is_drawn_by_what_was_logged(columns, titles):
    figure = draw_training(metrics(**columns))
    assert {axes.get_title("left") for axes in figure.axes} == titles
    assert bool(judged_by(metrics(**columns))) == (len(titles) == 3)
    assert ("validation" in texts(figure)) == ("val/loss" in columns)
    assert ("training batches" in texts(figure)) == ("Accuracy" in titles)


def test_a_confusion_matrix_has_names_and_counts_as_long_as_they_can_be_read():
    rows = [Prediction(i, "", i % 2, 0, 1.0, 0.0) for i in range(6)]
    few = texts(draw_confusion(Confusion(rows, 3), ["$a$", "b" * 40, "c"]))
    assert {"$a$", "b" * 17 + "…", "c", "3"} <= {*few}
    many = texts(draw_confusion(Confusion(rows, 60), [f"class {i}" for i in range(60)]))
    assert "class 1" not in many
    assert "3" not in many
