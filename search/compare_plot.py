"""Draws how controllers did on frozen supernets, and how found networks train alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from search.cache import Row
from search.compare_retrained import Comparison
from search.controllers import Kind
from search.means import Mean
from search.plots import COSTS, percent, smooth
from supernet.plots import ACCENT, FAINT, INK, MUTED, new_figure, style_axes

_COLORS: dict[Kind, str] = {
    "ppo": "#C2410C",
    "reinforce": "#B7862B",
    "tunas": "#2F5D92",
    "cost_gradient": "#7A5BA6",
    "evolution": "#4B8B6F",
    "random": "#5F6B78",
}
_WIDTH, _PANEL, _ROW, _ENDS = 10.0, 4.3, 0.42, 1.5
"""Inches: of the page, of the panels of a supernet, of a retrained choice, of titles and axes."""

Contests = Mapping[Kind, Sequence[Row]]


def draw_comparison(contests: Sequence[Contests], comparisons: Sequence[Comparison]) -> Figure:
    """Rewards and fronts on each supernet, and the accuracies of retrained networks.

    Args:
        contests: of each supernet, by controller, one row for each seed.
        comparisons: of retrained choices with random networks.
    """
    heights = [_PANEL] * len(contests)
    heights += [_ENDS + _ROW * len(comparisons)] * bool(comparisons)
    figure = new_figure(_WIDTH, sum(heights))
    bands = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for number, rows in enumerate(contests):
        left, right = bands[number].subplots(1, 2)
        bands[number].subplots_adjust(left=0.08, right=0.98, top=0.8, bottom=0.14, wspace=0.24)
        title = f", supernet {number + 1}" if len(contests) > 1 else ""
        draw_rewards(left, rows, title)
        draw_fronts(right, rows)
        left.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.1), ncols=6, frameon=False,
                    fontsize=9, labelcolor=INK, handlelength=1.4, columnspacing=1.4)  # fmt: skip
    if comparisons:
        axes = bands[-1].subplots()
        edge = 1 / heights[-1]
        bands[-1].subplots_adjust(left=0.24, right=0.98, top=1 - 0.8 * edge, bottom=0.6 * edge)
        draw_retrained(axes, comparisons)
    return figure


def draw_rewards(axes: Axes, rows: Contests, title: str) -> None:
    """Mean reward of what was proposed, against evaluations: mean over seeds and its interval."""
    style_axes(axes, f"Reward of the proposals{title}", "evaluations", "", title_pad=6)
    drawn = []
    for kind, own in rows.items():
        curves = np.array([row["mean_rewards"] for row in own])
        window = max(1, curves.shape[1] // 20)
        curves = np.array([smooth(curve, window) for curve in curves])
        steps = (np.arange(curves.shape[1]) + 1) * own[0]["evaluations"] / curves.shape[1]
        _draw_band(axes, kind, steps, curves)
        drawn.append(curves)
    _fit(axes, drawn)
    axes.margins(x=0.01)
    axes.yaxis.set_major_locator(MaxNLocator(5))


def draw_fronts(axes: Axes, rows: Contests) -> None:
    """The best accuracy evaluated up to each cost: mean over seeds and its interval."""
    first = next(iter(rows.values()))[0]
    scale, noun, suffix = COSTS[first["unit"]]
    axes.axvline(first["target"] / scale, color=ACCENT, linewidth=1.2, linestyle=(0, (5, 3)))
    style_axes(axes, "Fronts of what was evaluated", f"{noun} ({suffix})", "", title_pad=6)
    axes.yaxis.set_major_formatter(percent)
    fronts = {kind: [np.array(row["front"]) for row in own] for kind, own in rows.items()}
    ends = np.concatenate([front[:, 0] for own in fronts.values() for front in own])
    costs, drawn = np.linspace(ends.min(), ends.max(), 200), []
    for kind, own in fronts.items():
        reached = np.array([_reached(front, costs) for front in own])
        _draw_band(axes, kind, costs / scale, reached)
        drawn.append(reached)
    _fit(axes, drawn)


def _fit(axes: Axes, drawn: Sequence[np.ndarray]) -> None:
    """Show all seeds' curves (S, P) whole; of two or three seeds the intervals go far beyond."""
    values = np.concatenate([curves.ravel() for curves in drawn])
    low, high = np.nanmin(values), np.nanmax(values)
    margin = 0.08 * (high - low) or 0.01
    axes.set_ylim(low - margin, high + margin)


def _reached(front: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Accuracy that a front (P, 2) of rising costs has reached at each cost; NaN below it."""
    place = np.searchsorted(front[:, 0], costs, side="right") - 1
    return np.where(place >= 0, front[np.maximum(place, 0), 1], np.nan)


def _draw_band(axes: Axes, kind: Kind, places: np.ndarray, curves: np.ndarray) -> None:
    """Mean of curves (S, P) where all are known, with its interval if there are several."""
    known = ~np.isnan(curves).any(axis=0)
    means = [Mean.of(values).estimate() for values in curves[:, known].T]
    lines = np.array([[mean.value, mean.low, mean.high] for mean in means]).reshape(-1, 3)
    style = (0, (4, 2)) if kind == "random" else "-"
    axes.plot(places[known], lines[:, 0], color=_COLORS[kind], linewidth=1.8, linestyle=style,
              label=kind)  # fmt: skip
    axes.fill_between(places[known], lines[:, 1], lines[:, 2], color=_COLORS[kind], alpha=0.14,
                      linewidth=0)  # fmt: skip


def draw_retrained(axes: Axes, comparisons: Sequence[Comparison]) -> None:
    """Test accuracies: random networks, the best of them, and the choice, with intervals."""
    style_axes(axes, "Trained from scratch", "test accuracy", "", title_pad=26)
    axes.xaxis.set_major_formatter(percent)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=FAINT, linewidth=0.8)
    for place, one in enumerate(comparisons):
        first = place == 0
        axes.scatter(one.random, [place] * len(one.random), s=22, color="#B8C1CA", linewidths=0,
                     label="random, same cost" if first else None)  # fmt: skip
        for shift, name, color, values in (
            (0.16, "best of them, fresh seeds", MUTED, one.best),
            (-0.16, "choice, fresh seeds", ACCENT, one.found),
        ):
            mean = Mean.of(values).estimate()
            errors = np.nan_to_num([[mean.value - mean.low], [mean.high - mean.value]])
            axes.errorbar([mean.value], [place + shift], xerr=errors, fmt="o", markersize=6,
                          color=color, elinewidth=1.6, label=name if first else None)  # fmt: skip
    axes.set_yticks(range(len(comparisons)), [one.choice.name for one in comparisons])
    axes.set_ylim(len(comparisons) - 0.5, -0.5)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3, frameon=False, fontsize=9,
                labelcolor=INK, handletextpad=0.3, columnspacing=1.6)  # fmt: skip
