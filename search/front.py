"""Front of a search: pareto.json as it is read, and its picture of accuracy against cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from search.surrogate.figure import ORIGIN_COLORS, Known
from supernet.cost.model import TARGET_UNITS
from supernet.display.figures import (
    ACCENT,
    COSTS,
    INK,
    MUTED,
    legend_above,
    new_figure,
    percent,
    style_axes,
    write_beside,
)
from supernet.errors import UserError, check_choice
from supernet.files.csv_table import Columns
from supernet.files.json_text import parse_json
from supernet.files.reading import read_text, typed

WAY_OUT = "name the folder of a finished search"
_STEPS = LinearSegmentedColormap.from_list("steps", ["#D9DEE4", "#86A8CC", "#2F5D92", "#142B4A"])


@dataclass(frozen=True)
class Front:
    """What pareto.json holds: the re-evaluated networks that no other one beats."""

    targets: dict[str, float]
    """Upper limits of the cost, in ``unit``, by name."""
    unit: str
    costs: np.ndarray
    accuracies: np.ndarray
    chosen: dict[str, int]
    """Index of the network that was chosen for each target."""


def read_front(path: Path) -> Front:
    """Read pareto.json.

    Raises:
        UserError: when the file is missing, not JSON, or lacks a field or the chosen network.
    """
    text = read_text(path, WAY_OUT)
    try:
        front = _front(parse_json(text.encode()))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise UserError(
            f"{path} is broken: it must hold targets, unit and points with cost, accuracy and one"
            " chosen for each target; run the search's final stage again"
        ) from None
    check_choice(f"{path}: unit", front.unit, TARGET_UNITS)
    return front


def _front(fields: dict[str, Any]) -> Front:
    points = sorted(fields["points"], key=lambda point: point["cost"])
    chosen = {name: index for index, point in enumerate(points) for name in point["chosen"]}
    targets = {name: typed(name, cost, float) for name, cost in fields["targets"].items()}
    costs = [typed("cost", point["cost"], float) for point in points]
    accuracies = [typed("accuracy", point["accuracy"], float) for point in points]
    if not targets or min(costs + list(targets.values())) <= 0:
        raise ValueError("no target, or a cost that no network has")
    if not all(0 <= accuracy <= 1 for accuracy in accuracies):
        raise ValueError("an accuracy lies from 0 to 1")
    names = {name: chosen[name] for name in targets}
    return Front(targets, fields["unit"], np.array(costs), np.array(accuracies), names)


def mark_targets(axes: Axes, targets: Mapping[str, float], unit: str, upright: bool) -> None:
    """A line for each target: a single one has its value, a few, which are close, their names."""
    scale, _, suffix = COSTS[unit]
    crowded = len(targets) > MOST_NAMED
    style: dict[str, Any] = {"color": ACCENT, "linestyle": (0, (5, 3))}
    style |= {"linewidth": 0.6, "alpha": 0.6} if crowded else {"linewidth": 1.2}
    for name, target in targets.items():
        at, text = target / scale, name
        if len(targets) == 1:
            text = f"target {at:.4g} {suffix}"
        elif crowded:
            text = ""
        if upright:
            axes.axvline(at, zorder=2.5, **style)
            place = ("data", "axes fraction")
            write_beside(axes, text, (at, 0), (-6, 8), place, ha="right", fontsize=9)
        else:
            axes.axhline(at, **style)
            write_beside(axes, text, (0, at), (8, 5), ("axes fraction", "data"))


MOST_NAMED = 6
"""Targets whose names have room beside each other."""


def draw_pareto(samples: Columns, front: Front, known: Known | None = None) -> Figure:
    """Accuracy against cost: front, targets and chosen networks, before all that was looked at.

    Args:
        samples: What the controller proposed: step, cost and the accuracy of its slice.
        front: Of the networks that were judged.
        known: What a search by tunings learned from, which is then drawn instead of samples.
    """
    scale, noun, suffix = COSTS[front.unit]
    figure = new_figure(7.6, 5.4)
    # Two lines of the legend where there are more kinds of networks.
    pad, top = (52, 0.805) if known else (34, 0.85)
    axes = figure.add_axes((0.1, 0.115, 0.87, top - 0.115))
    style_axes(axes, "Accuracy against cost", f"{noun} ({suffix})", "accuracy", title_pad=pad)
    axes.yaxis.set_major_formatter(percent)
    if known:
        _draw_tuned(axes, known, scale)
    else:
        _draw_samples(figure, axes, samples, scale)
    _draw_front(axes, front, scale, suffix)
    mark_targets(axes, front.targets, front.unit, upright=True)
    legend_above(axes, 3, handletextpad=0.5, columnspacing=1.6)
    return figure


def _draw_samples(figure: Figure, axes: Axes, samples: Columns, scale: float) -> None:
    cloud = axes.scatter(
        samples["cost"] / scale,
        samples["accuracy"],
        c=samples["step"],
        cmap=_STEPS,
        s=11,
        linewidths=0,
        alpha=0.75,
        zorder=2,
        label="sampled: score on one batch",
    )
    _draw_step_key(figure, cloud)


def _draw_tuned(axes: Axes, known: Known, scale: float) -> None:
    """Networks that were learned from, and finalists, which were tuned for longer."""
    style: dict[str, Any] = {"s": 20, "linewidths": 0, "zorder": 2}
    for origin, color in ORIGIN_COLORS.items():
        rows = [row for row in known.labels if row["origin"] == origin]
        if not rows:
            continue
        costs, accuracies = ([row[name] for row in rows] for name in ("cost", "accuracy"))
        text = f"{origin}, {known.label_steps} steps"
        axes.scatter(np.array(costs) / scale, accuracies, color=color, label=text, **style)
    costs = [row["cost"] / scale for row in known.finalists]
    accuracies = [row["val_accuracy"] for row in known.finalists]
    text = f"finalists, {known.final_steps} steps"
    axes.scatter(costs, accuracies, s=24, facecolor="white", edgecolor=MUTED, label=text, zorder=2)


def _draw_front(axes: Axes, front: Front, scale: float, suffix: str) -> None:
    costs, accuracies = front.costs / scale, front.accuracies
    # A choice may lie beside the front: it is the best right below its target.
    ahead = accuracies > np.maximum.accumulate(np.append(-np.inf, accuracies[:-1]))
    axes.plot(
        costs[ahead],
        accuracies[ahead],
        color=INK,
        linewidth=1.4,
        drawstyle="steps-post",
        marker="o",
        markersize=5,
        markerfacecolor="white",
        zorder=3,
        label="Pareto front, re-evaluated",
    )
    chosen = list(front.chosen.values())
    label = "chosen for each target"
    if len(chosen) == 1:
        label = f"chosen: {accuracies[chosen[0]]:.1%} at {costs[chosen[0]]:.3g} {suffix}"
    star: dict[str, Any] = {"marker": "*", "s": 230, "color": ACCENT, "edgecolor": "white"}
    axes.scatter(costs[chosen], accuracies[chosen], **star, linewidth=1.0, zorder=4, label=label)


def _draw_step_key(figure: Figure, cloud: PathCollection) -> None:
    """A small colour key at the right end of the title's line."""
    axes = figure.add_axes((0.78, 0.945, 0.18, 0.016))
    solid = ScalarMappable(cloud.norm, cloud.cmap)
    bar = figure.colorbar(solid, cax=axes, orientation="horizontal")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8, labelcolor=MUTED)
    bar.ax.xaxis.set_major_locator(MaxNLocator(3))
    style = {"ha": "right", "va": "center", "color": MUTED}
    write_beside(bar.ax, "weight step", (-0.05, 0.5), (0, 0), "axes fraction", **style)
