"""Figure of an experiment: accuracy against cost, here and as the paper prints it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from search.paper.experiment import Experiment
from search.paper.results import RowResult
from supernet.display.figures import (
    COSTS,
    MUTED,
    legend_above,
    new_figure,
    style_axes,
    write_beside,
)

COLORS = ("#C2410C", "#2F5D92", "#4B8B6F", "#B7862B", "#7A5BA6", "#5F6B78")
_WIDTH, _HEIGHT = 9.6, 4.2
"""Inches."""


@dataclass(frozen=True)
class Point:
    """A place in a panel: cost in the axis's unit, and accuracy in per cent with its interval."""

    name: str
    cost: float
    accuracy: float
    low: float
    high: float


def draw_experiment(experiment: Experiment, results: Sequence[RowResult], device: str) -> Figure:
    """Accuracy against cost: a panel of what was run here, and one of what the paper prints."""
    here, paper = _here(experiment, results), _paper(experiment, results)
    panels = [("Here", here, device)]
    if any(paper.values()):
        panels.append(("The paper, on ImageNet", paper, "Pixel 1"))
    figure = new_figure(_WIDTH, _HEIGHT)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    figure.subplots_adjust(left=0.07, right=0.985, top=0.79, bottom=0.14, wspace=0.2)
    colors = {line: COLORS[place % len(COLORS)] for place, line in enumerate(here)}
    for axes, (title, lines, where) in zip(grid, panels, strict=True):
        _, noun, unit = COSTS[experiment.axis]
        noun = noun.removeprefix("predicted ")
        cost = f"{noun} ({unit})" + f", {where}" * (experiment.axis == "ms")
        style_axes(axes, title, cost, "top-1 accuracy (%)", 26)
        costs = [one.cost for points in lines.values() for one in points]
        middle = (min(costs) + max(costs)) / 2
        for line, points in lines.items():
            _draw_line(axes, line, points, colors[line], middle)
        axes.margins(0.12)
    if len(here) > 1:
        legend_above(grid[0], 4, handlelength=1.2, columnspacing=1.2)
    return figure


def _draw_line(axes: Axes, line: str, points: Sequence[Point], color: str, middle: float) -> None:
    """Points of a line with their names, which lie towards the middle of the axis."""
    points = sorted(points, key=lambda one: one.cost)
    costs, values = ([getattr(one, name) for one in points] for name in ("cost", "accuracy"))
    style: dict[str, Any] = {"color": color, "marker": "o", "markersize": 4.5}
    axes.plot(costs, values, linewidth=1.4 if line else 0, label=line or None, **style)
    for one in points:
        if one.low == one.low:  # of one seed there is no interval
            axes.plot([one.cost] * 2, [one.low, one.high], color=color, linewidth=1.2)
        place = (one.cost, one.accuracy)
        side: dict[str, Any] = {"ha": "right" if one.cost > middle else "left"}
        offset = (-5 if one.cost > middle else 5, -9)
        write_beside(axes, one.name, place, offset, "data", color=MUTED, fontsize=7.5, **side)


def _here(experiment: Experiment, results: Sequence[RowResult]) -> Mapping[str, list[Point]]:
    """Points of what was run, by line."""
    scale, *_ = COSTS[experiment.axis]
    lines = defaultdict(list)
    for one in results:
        mean = one.accuracy.estimate
        at = one.cost(experiment.axis) / scale
        point = Point(_label(one), at, mean.value, mean.low, mean.high)
        lines[one.row.line].append(point)
    return lines


def _paper(experiment: Experiment, results: Sequence[RowResult]) -> Mapping[str, list[Point]]:
    """Points of what the paper prints, by the same lines."""
    lines: dict[str, list[Point]] = {one.row.line: [] for one in results}
    for one in results:
        cost, value = getattr(one.row.paper, experiment.axis), one.row.paper.accuracy
        if cost is not None and value is not None:
            nan = float("nan")
            lines[one.row.line].append(Point(_label(one), cost, value, nan, nan))
    return lines


def _label(result: RowResult) -> str:
    """Name of a row, without that of its line."""
    return result.row.name.removeprefix(result.row.line).strip()
