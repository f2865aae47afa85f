"""Regret of controllers against evaluations, on each table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from search.compare.report import COLORS, draw_band
from search.controllers.settings import Kind
from search.evaluation.estimates import Mean
from search.evaluation.jobs import Row
from search.truth.report import by_seed
from supernet.display.figures import legend_above, new_figure, style_axes

_WIDTH, _PANEL = 10.0, 4.3
"""Inches: of the page, and of the panels of a noise."""
_END = 1.04
"""Place of the final choices, as a share of the evaluations."""
ALMOST = 0.05
"""Regret in points below which curves are drawn as lying there: the axis is a logarithm."""


def draw_trials(rows: Sequence[Row]) -> Figure:
    """A row of panels for each noise, a panel for each table: means over targets and seeds.

    Lines are what was rewarded best until then at or below the target, points the final choices.
    """
    truths = list(dict.fromkeys(row["truth"] for row in rows))
    noises = list(dict.fromkeys(row["noise"] for row in rows))
    figure = new_figure(_WIDTH, _PANEL * len(noises))
    panels = figure.subplots(len(noises), len(truths), squeeze=False)
    for line, noise in enumerate(noises):
        for place, truth in enumerate(truths):
            own = [row for row in rows if (row["truth"], row["noise"]) == (truth, noise)]
            _draw_panel(panels[line, place], own, f"{truth}, evaluations show: {noise}")
    legend_above(panels[0, 0], 6, at=(-0.02, 1.1), handlelength=1.4, columnspacing=1.4)
    edge = 1 / (_PANEL * len(noises))
    figure.subplots_adjust(
        left=0.07, right=0.98, top=1 - 0.85 * edge, bottom=0.6 * edge, wspace=0.2, hspace=0.4
    )
    return figure


def _draw_panel(axes: Axes, rows: Sequence[Row], title: str) -> None:
    style_axes(axes, title, "evaluations", "regret, points", title_pad=6)
    kinds: dict[Kind, list[Row]] = defaultdict(list)
    for row in rows:
        kinds[row["controller"]].append(row)
    for kind, own in kinds.items():
        curves = np.maximum(_curves(own), ALMOST)
        steps = (np.arange(curves.shape[1]) + 1) * own[0]["evaluations"] / curves.shape[1]
        draw_band(axes, kind, steps, curves)
        chosen = Mean.of(list(by_seed(own).values())).estimate
        axes.plot(steps[-1] * _END, max(chosen.value, ALMOST), "o", color=COLORS[kind], ms=5)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda *_: "")
    axes.margins(x=0.02)


def _curves(rows: Sequence[Row]) -> np.ndarray:
    """Courses (S, U) of seeds, means over targets."""
    by_own: dict[int, list[list[float]]] = defaultdict(list)
    for row in rows:
        by_own[row["seed"]].append(row["course"])
    return np.array([np.mean(courses, axis=0) for courses in by_own.values()])
