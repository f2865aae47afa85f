"""Figure of an experiment: accuracy against cost, here and as the paper prints it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

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
"""Inches of a row of panels."""
_ABOVE, _BELOW = 0.88, 0.59
"""Inches of it above and below its axes."""
_MARKER = 2.5
"""Points from the middle of a marker to its edge."""
_BESIDE = (
    *((5, -9, "left"), (-5, -9, "right"), (5, 4, "left"), (-5, 4, "right")),
    *((5, -19, "left"), (-5, -19, "right"), (5, 14, "left"), (-5, 14, "right")),
)
"""Where a name may stand beside its point: points to the right and above, and the side it is on."""


@dataclass(frozen=True)
class Point:
    """A place in a panel: cost in the axis's unit, and accuracy in per cent with its interval."""

    name: str
    cost: float
    accuracy: float
    low: float
    high: float


def draw_experiment(experiment: Experiment, results: Sequence[RowResult], device: str) -> Figure:
    """Accuracy against cost: each panel as it was run here, beside what the paper prints."""
    shown = list(dict.fromkeys(one.row.panel for one in results))
    beside = any(_paper(experiment, results).values())
    figure = new_figure(_WIDTH, _HEIGHT * len(shown))
    grid = figure.subplots(len(shown), 1 + beside, squeeze=False)
    _place(figure, len(shown))
    lines = dict.fromkeys(one.row.line for one in results)
    colors = {line: COLORS[place % len(COLORS)] for place, line in enumerate(lines)}
    for name, row in zip(shown, grid, strict=True):
        own = [one for one in results if one.row.panel == name]
        title = f": {name}" if name else ""
        _draw_panel(row[0], f"Here{title}", _here(experiment, own), colors, experiment, device)
        if len(lines) > 1:
            legend_above(row[0], 4, handlelength=1.2, columnspacing=1.2)
        if beside:
            paper, printed = f"The paper, on ImageNet{title}", _paper(experiment, own)
            _draw_panel(row[1], paper, printed, colors, experiment, "Pixel 1")
    return figure


def _place(figure: Figure, rows: int) -> None:
    """Leave as much room around the axes of each row as a single one has."""
    height, inside = _HEIGHT * rows, _HEIGHT - _ABOVE - _BELOW
    edges = {"top": 1 - _ABOVE / height, "bottom": _BELOW / height}
    figure.subplots_adjust(
        left=0.07, right=0.985, wspace=0.2, hspace=(_ABOVE + _BELOW) / inside, **edges
    )


def _draw_panel(
    axes: Axes,
    title: str,
    lines: Mapping[str, list[Point]],
    colors: Mapping[str, str],
    experiment: Experiment,
    where: str,
) -> None:
    _, noun, unit = COSTS[experiment.axis]
    noun = noun.removeprefix("predicted ")
    cost = f"{noun} ({unit})" + f", {where}" * (experiment.axis == "ms")
    style_axes(axes, title, cost, "top-1 accuracy (%)", 26)
    for line, points in lines.items():
        _draw_line(axes, line, points, colors[line])
    axes.margins(0.12)
    inks = colors if len(colors) > 1 else dict.fromkeys(colors, MUTED)
    _name(axes, [(one, inks[line]) for line, points in lines.items() for one in points])


def _draw_line(axes: Axes, line: str, points: Sequence[Point], color: str) -> None:
    points = sorted(points, key=lambda one: one.cost)
    costs, values = ([getattr(one, name) for one in points] for name in ("cost", "accuracy"))
    style: dict[str, Any] = {"color": color, "marker": "o", "markersize": 4.5}
    axes.plot(costs, values, linewidth=1.4 if line else 0, label=line or None, **style)
    for one in points:
        if one.low == one.low:  # of one seed there is no interval
            axes.plot([one.cost] * 2, [one.low, one.high], color=color, linewidth=1.2)


def _name(axes: Axes, points: Sequence[tuple[Point, str]]) -> None:
    """Write the names of points, in colors, where they cover the fewest others and intervals."""
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes are drawn on one"
    figure.draw_without_rendering()  # places are known only then
    taken = [_around(axes, one) for one, _ in points]
    for one, color in sorted(points, key=lambda each: each[0].cost):
        tried = [_named(axes, one, color, *place) for place in _BESIDE]
        boxes = [text.get_window_extent().padded(2) for text in tried]
        covered = [box.count_overlaps(taken) + (box.x1 > axes.bbox.x1) for box in boxes]
        best = covered.index(min(covered))
        taken.append(boxes[best])
        for text in (text for place, text in enumerate(tried) if place != best):
            text.remove()


def _around(axes: Axes, point: Point) -> Bbox:
    """What a point and its interval take of the page, in pixels."""
    low, high = np.nan_to_num((point.low, point.high), nan=point.accuracy)
    ends = axes.transData.transform([(point.cost, low), (point.cost, high)])
    return Bbox(ends).padded(axes.figure.dpi * _MARKER / 72)


def _named(axes: Axes, point: Point, color: str, x: float, y: float, side: str) -> Annotation:
    style: dict[str, Any] = {"ha": side, "color": color, "fontsize": 7.5}
    return write_beside(axes, point.name, (point.cost, point.accuracy), (x, y), "data", **style)


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
