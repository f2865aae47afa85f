"""Figures of a retraining, drawn from metrics.csv and predictions.csv alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from supernet.display.figures import (
    ACCENT,
    INK,
    MUTED,
    legend_above,
    new_figure,
    note_above,
    percent,
    style_axes,
)
from supernet.files.csv_table import Columns
from supernet.report.predictions import Confusion

_LINE = "#2F5D92"
TRAINING = ("train/loss", "train/accuracy", "lr", "val/loss", "val/accuracy", "val/map")
"""Columns of metrics.csv that are drawn."""
FIGURE_NAMES = {"val/accuracy": "accuracy", "val/map": "average precision"}
"""What a training is judged by: a classifier's accuracy, or a detector's average precision."""
MOST_NAMED, MOST_COUNTED, LONGEST = 40, 15, 18
"""Classes that are named, and counted, on a confusion matrix; letters of a name."""


def judged_by(metrics: Columns) -> str:
    """The column that chose the best weights; empty where there was no validation."""
    present = [name for name in FIGURE_NAMES if name in metrics]
    return next((name for name in present if _points(metrics, name)[0].size), "")


def best_of(metrics: Columns, name: str) -> tuple[int, float]:
    """Step and value of the best validation, of equal ones the latest, as weights are chosen."""
    steps, values = _points(metrics, name)
    place = len(values) - 1 - int(values[::-1].argmax())
    return int(steps[place]), float(values[place])


def draw_training(metrics: Columns) -> Figure:
    """Loss, accuracy and learning rate against the steps of the optimizer."""
    score = judged_by(metrics)
    panels = [_draw_loss, *([_draw_score] if score else []), _draw_rate]
    figure = new_figure(7.6, 2.5 * len(panels) + 0.3)
    grid = figure.subplots(len(panels), 1, sharex=True)
    for axes, draw in zip(grid, panels, strict=True):
        draw(axes, metrics)
        axes.margins(x=0.01)
    grid[-1].set_xlabel("steps of the optimizer", fontsize=9.5, color=MUTED)
    edge = 0.4 / figure.get_figheight()
    figure.subplots_adjust(left=0.1, right=0.97, top=1 - edge, bottom=1.4 * edge, hspace=0.38)
    return figure


def _points(metrics: Columns, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the cells that are not empty; none where there is no such column."""
    values = metrics.get(name, np.array([]))
    present = ~np.isnan(values)
    return metrics["step"][: len(values)][present], values[present]


def _draw_loss(axes: Axes, metrics: Columns) -> None:
    style_axes(axes, "Loss", "", "")
    steps, values = _points(metrics, "train/loss")
    axes.plot(steps, values, color=_LINE, alpha=0.55, linewidth=1.1, label="training")
    steps, values = _points(metrics, "val/loss")
    if steps.size:
        axes.plot(steps, values, color=ACCENT, linewidth=1.8, label="validation")
        legend_above(axes, 2, at=(0.1, 0.97))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    # Label smoothing, mixing and a teacher are in the one and not in the other.
    note_above(axes, "training: as the recipe has it; validation: cross-entropy")


def _draw_score(axes: Axes, metrics: Columns) -> None:
    name = judged_by(metrics)
    own, values = _points(metrics, name.replace("val/", "train/"))
    title = FIGURE_NAMES[name].capitalize() if own.size else f"Validation {FIGURE_NAMES[name]}"
    style_axes(axes, title, "", "")
    if own.size:
        # Of single batches, as they are augmented, and of weights that are not averaged.
        axes.plot(own, values, color=_LINE, alpha=0.4, linewidth=1.1, label="training batches")
    axes.plot(*_points(metrics, name), color=ACCENT, linewidth=1.8, label="validation")
    if own.size:
        legend_above(axes, 2, at=(0.16, 0.97))
    best = best_of(metrics, name)
    axes.plot(*best, marker="*", color=ACCENT, markersize=13, markeredgecolor="white")
    axes.yaxis.set_major_formatter(percent)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    note_above(axes, f"star: the best weights, {best[1]:.2%} at step {best[0]:,}")


def _draw_rate(axes: Axes, metrics: Columns) -> None:
    style_axes(axes, "Learning rate", "", "")
    axes.plot(*_points(metrics, "lr"), color=_LINE, linewidth=1.8)
    axes.yaxis.set_major_locator(MaxNLocator(4))


def draw_confusion(confusion: Confusion, classes: Sequence[str]) -> Figure:
    """True classes in rows, predicted ones in columns; darker is a larger share of the row."""
    number, counts = confusion.num_classes, confusion.counts
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    named = number <= MOST_NAMED
    names = [one if len(one) <= LONGEST else f"{one[: LONGEST - 1]}…" for one in classes]
    side = min(7.0, 0.9 + 0.42 * number)
    margin = 0.55 + 0.075 * max(map(len, names)) * named
    width, height = margin + side + 0.25, margin + side + 0.5
    figure = new_figure(width, height)
    place = (margin / width, margin / height, side / width, side / height)
    axes = figure.add_axes(place)
    # Shares of single images among many would not be seen on a straight scale.
    axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    style_axes(axes, "Test images", "predicted", "true")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    if named:
        style: dict[str, Any] = {"parse_math": False}
        turned = {"rotation": 60, "ha": "right", "rotation_mode": "anchor", **style}
        axes.set_xticks(range(number), names, **turned)
        axes.set_yticks(range(number), names, **style)
    if number <= MOST_COUNTED:
        _write_counts(axes, counts, shares)
    return figure


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    for place in zip(*counts.nonzero(), strict=True):
        ink = "white" if shares[place] > 0.3 else INK
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8.5, "color": ink}
        axes.text(place[1], place[0], f"{counts[place]}", **style)
