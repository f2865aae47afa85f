"""Figures of docs/search-quality.md, from what the benchmarks' tables hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from search.evaluation.estimates import Mean
from supernet.display.figures import ACCENT, INK, MUTED, legend_above, new_figure, style_axes

COLORS = ("#2F5D92", "#C2410C", "#4B8B6F", "#B7862B", "#7A5BA6", "#5F6B78")


class Expected(NamedTuple):
    """What a search said of its choice, and what came true, in points beyond random networks."""

    value: float
    low: float
    high: float
    true: float


def draw_gains(gains: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """What choices have beyond random networks, for each target: a dot for each search.

    Args:
        gains: points of accuracy, by method and target.
    """
    figure = new_figure(8.4, 3.9)
    axes = figure.add_axes((0.085, 0.14, 0.9, 0.62))
    style_axes(axes, "Choices, a dot for each search", "", "points above random networks", 32)
    targets = list(next(iter(gains.values())))
    width = 0.8 / len(gains)
    for number, (method, by_target) in enumerate(gains.items()):
        color = COLORS[number % len(COLORS)]
        columns = [by_target[name] for name in targets]
        columns.append([one for some in columns for one in some])
        for place, values in enumerate(columns):
            at = place + (place == len(targets)) * 0.4 - 0.4 + (number + 0.5) * width
            _dots(axes, at, width, values, color, method if place == 0 else None)
    axes.axhline(0, color=INK, linewidth=0.9)
    ends = [*range(len(targets)), len(targets) + 0.4]
    axes.set_xticks(ends, [*targets, "all"])
    if len(gains) > 1:
        legend_above(axes, len(gains), handletextpad=0.2)
    return figure


def _dots(
    axes: Axes, at: float, width: float, values: Sequence[float], color: str, label: str | None
) -> None:
    """Values beside each other, with a bar at their mean and its 95 % interval."""
    places = at + 0.24 * width * np.sin(2.4 * np.arange(len(values)))
    axes.scatter(places, values, s=14, color=color, linewidths=0, alpha=0.6, label=label)
    mean = Mean.of(values).estimate
    if np.isfinite(mean.low):
        axes.plot([at, at], [mean.low, mean.high], color=color, linewidth=1.6)
    axes.plot([at - 0.3 * width, at + 0.3 * width], [mean.value] * 2, color=color, linewidth=2.6)


def draw_expected(expected: Mapping[str, Sequence[Expected]]) -> Figure:
    """What came true beside what searches said at their ends; on the line both agree."""
    figure = new_figure(5.6, 4.6)
    axes = figure.add_axes((0.13, 0.13, 0.84, 0.68))
    style_axes(axes, "What a search says of itself", "points it expects", "points found true", 30)
    for number, (method, searches) in enumerate(expected.items()):
        color = COLORS[number % len(COLORS)]
        values = np.array([one.value for one in searches])
        reach = np.array([[one.value - one.low, one.high - one.value] for one in searches]).T
        true = [one.true for one in searches]
        axes.errorbar(values, true, xerr=reach, fmt="none", ecolor=color, alpha=0.25, linewidth=1)
        axes.scatter(values, true, s=22, color=color, linewidths=0, label=method, zorder=3)
    axes.axline((0, 0), slope=1, color=MUTED, linewidth=1.1, linestyle=(0, (5, 3)))
    axes.axhline(0, color=INK, linewidth=0.9)
    if len(expected) > 1:
        legend_above(axes, len(expected), handletextpad=0.2)
    return figure


def draw_labels(
    lengths: Sequence[int],
    curves: Mapping[int, Sequence[Mapping[str, float]]],
    names: tuple[str, str, str],
) -> Figure:
    """Taus over the length of tunings, a panel for each of three columns of the table.

    Args:
        lengths: steps of tunings.
        curves: a row of the table for each length, by the steps that weights were shared for.
        names: of the columns: the networks' own labels, unseen networks, what is chosen by.
    """
    figure = new_figure(9.6, 3.2)
    titles = ("A network's own label", "Unseen, after 48 others", "Choosing, within bands")
    for place, (name, title) in enumerate(zip(names, titles, strict=True)):
        axes = figure.add_axes((0.065 + 0.325 * place, 0.175, 0.275, 0.6))
        y_label = "tau with whole trainings" if place == 0 else ""
        style_axes(axes, title, "steps of a tuning", y_label, 28)
        for number, (shared, rows) in enumerate(curves.items()):
            label = f"{shared} shared steps" if shared else "afresh"
            color = ACCENT if not shared else COLORS[0 if number == 1 else 1 + number]
            values = [row[name] for row in rows]
            axes.plot(lengths, values, color=color, marker="o", markersize=4, label=label)
        axes.set_ylim(0, 0.7)
        axes.set_xticks(lengths)
        if place == 0:
            legend_above(axes, 3, (-0.05, 1.0), handlelength=1.2, columnspacing=1.0)
    return figure
