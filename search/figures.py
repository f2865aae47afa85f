"""The figures of a search, drawn from the files of its run and from nothing else.

``draw_run`` writes them all; the functions that it calls return figures, for notebooks and loggers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from search.objective.targets import file_names
from supernet.arch_file import read_arch
from supernet.cost.model import TARGET_UNITS
from supernet.display.figures import (
    ACCENT,
    INK,
    MUTED,
    draw_network,
    legend_above,
    new_figure,
    save_figure,
    style_axes,
)
from supernet.errors import UserError, check_choice
from supernet.files.csv_table import Columns, read_columns
from supernet.files.json_text import parse_json
from supernet.files.reading import read_text, typed
from supernet.space.arch import DECISIONS
from supernet.space.mnasnet import MnasSpace

COSTS = {
    "ms": (1.0, "predicted latency", "ms"),
    "macs": (1e6, "multiply-adds", "M"),
    "params": (1e6, "parameters", "M"),
}
"""Units on axes: how many of each are one on an axis, what it is, and the axis's unit."""
_LINE = "#2F5D92"
_COLORS = ("#2F5D92", "#C2410C", "#4B8B6F", "#B7862B", "#7A5BA6", "#5F6B78")
_DECISION_COLORS = dict(zip(DECISIONS, _COLORS, strict=True))
_STEPS = LinearSegmentedColormap.from_list("steps", ["#D9DEE4", "#86A8CC", "#2F5D92", "#142B4A"])
WAY_OUT = "name the folder of a finished search"
_METRICS = ("step", "train/loss", "reward/mean", "reward/accuracy", "cost/mean")


def draw_run(folder: str | Path) -> list[Path]:
    """The files drawn of a finished search, in its folder ``figures``.

    The run has metrics.csv, samples.csv, pareto.json and each target's arch.json.

    Raises:
        UserError: naming the file that is missing or broken.
    """
    folder = Path(folder)
    entropies = [f"entropy/{name}" for name in DECISIONS]
    metrics = read_columns(folder / "metrics.csv", [*_METRICS, *entropies], WAY_OUT)
    samples = read_columns(folder / "samples.csv", ("step", "accuracy", "cost", "reward"), WAY_OUT)
    front = read_front(folder / "pareto.json")
    names = list(front.targets)
    found = [read_arch(folder / name) for name in file_names(names, "arch", ".json")]
    titles = file_names(names, "The chosen network", "")
    figures = {
        "loss.png": draw_loss(metrics, found[0].classes),
        "progress.png": draw_progress(metrics, front.targets, front.unit),
        "entropy.png": draw_entropy(metrics, found[0].space),
        "pareto.png": draw_pareto(samples, front),
    }
    for name, title, one in zip(file_names(names, "network", ".png"), titles, found, strict=True):
        figures[name] = draw_network(one.spec, title)
    (folder / "figures").mkdir(exist_ok=True)
    paths = [folder / "figures" / name for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        save_figure(figure, path)
    return paths


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Centred moving average of ``window`` values; fewer, never padded, at the ends."""
    kernel = np.ones(window)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def draw_loss(metrics: Columns, classes: int) -> Figure:
    """Loss of the shared weights against weight steps, beside that of guessing ``classes``."""
    figure = new_figure(7.6, 3.8)
    axes = figure.add_axes((0.09, 0.15, 0.88, 0.7))
    style_axes(axes, "Loss of the shared weights", "weight steps", "cross-entropy, nats")
    window = _draw_series(axes, *_present(metrics, "train/loss"))
    note_above(axes, f"thin: one path on one batch, thick: mean of {window}")
    guessing = math.log(classes)
    axes.axhline(guessing, color=ACCENT, linewidth=1.2, linestyle=(0, (5, 3)))
    text = f"guessing one of {classes} classes"
    _write(axes, text, (1, guessing), (-6, 5), ("axes fraction", "data"), ha="right")
    first_update = _present(metrics, "reward/mean")[0][0]
    axes.axvline(first_update, color=MUTED, linewidth=0.9)
    place = ("data", "axes fraction")
    _write(axes, "the controller takes over", (first_update, 0), (-6, 8), place, ha="right")
    return figure


def draw_progress(metrics: Columns, targets: Mapping[str, float], unit: str) -> Figure:
    """Reward, accuracy and cost of the sampled networks against weight steps."""
    scale, noun, suffix = COSTS[unit]
    panels = {
        "reward/mean": ("Reward of the sampled networks", 1.0),
        "reward/accuracy": ("Score of the sampled networks", 1.0),
        "cost/mean": (f"{noun.capitalize()} of the sampled networks ({suffix})", scale),
    }
    figure = new_figure(7.6, 7.6)
    grid = figure.subplots(3, 1, sharex=True)
    for axes, (name, (title, divisor)) in zip(grid, panels.items(), strict=True):
        steps, values = _present(metrics, name)
        style_axes(axes, title, "", "")
        window = _draw_series(axes, steps, values / divisor)
    note_above(grid[0], f"thin: each update, thick: mean of {window} updates")
    grid[1].yaxis.set_major_formatter(percent)
    _mark_targets(grid[2], targets, unit, upright=False)
    grid[2].set_xlabel("weight steps", fontsize=9.5, color=MUTED)
    figure.subplots_adjust(left=0.09, right=0.97, top=0.94, bottom=0.08, hspace=0.4)
    return figure


def _present(columns: Columns, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the rows in which the cell is not empty."""
    present = ~np.isnan(columns[name])
    if not present.any():
        raise UserError(f"metrics.csv has no values of {name}: the controller has made no update")
    return columns["step"][present], columns[name][present]


def _draw_series(axes: Axes, steps: np.ndarray, values: np.ndarray) -> int:
    """Draw the values and their moving average; returns its window."""
    window = max(1, len(values) // 25)
    axes.plot(steps, values, color=_LINE, alpha=0.22, linewidth=0.9)
    axes.plot(steps, smooth(values, window), color=_LINE, linewidth=2, solid_capstyle="round")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.margins(x=0.01)
    return window


def percent(value: float, _: float | None = None) -> str:
    """Labels an axis of shares."""
    return f"{100 * value:.3g}%"


def _write(
    axes: Axes,
    text: str,
    at: tuple[float, float],
    offset: tuple[float, float],
    coordinates: str | tuple[str, str],
    **style: Any,
) -> None:
    """Write ``offset`` points beside a place, whose x and y have the coordinates named."""
    style = {"fontsize": 8.5, "color": ACCENT, **style}
    axes.annotate(text, at, offset, xycoords=coordinates, textcoords="offset points", **style)


def note_above(axes: Axes, text: str, points: float = 10) -> None:
    """A remark at the right end of the title's line, so many points above the axes."""
    _write(axes, text, (1, 1), (0, points), "axes fraction", ha="right", color=MUTED)


def _mark_targets(axes: Axes, targets: Mapping[str, float], unit: str, upright: bool) -> None:
    """A line for each target: a single one has its value, several, which are close, their names."""
    scale, _, suffix = COSTS[unit]
    style: dict[str, Any] = {"color": ACCENT, "linewidth": 1.2, "linestyle": (0, (5, 3))}
    for name, target in targets.items():
        at, text = target / scale, name
        if len(targets) == 1:
            text = f"target {at:.4g} {suffix}"
        if upright:
            axes.axvline(at, zorder=2.5, **style)
            place = ("data", "axes fraction")
            _write(axes, text, (at, 0), (-6, 8), place, ha="right", fontsize=9)
        else:
            axes.axhline(at, **style)
            _write(axes, text, (0, at), (8, 5), ("axes fraction", "data"))


def draw_entropy(metrics: Columns, space: MnasSpace) -> Figure:
    """How sure the controller is of each decision: 1 is uniform, 0 is decided.

    ``metrics`` holds ``entropy/NAME`` in nats, the mean over the blocks of ``space``.
    """
    figure = new_figure(7.6, 4.2)
    axes = figure.add_axes((0.1, 0.14, 0.76, 0.74))
    style_axes(axes, "What the controller has decided", "weight steps", "entropy / log n")
    note_above(axes, "1: uniform over the n choices, 0: decided")
    ends = {}
    for name in DECISIONS:
        most = fmean(math.log(len(block[name])) for block in space.choices)
        if not most:
            continue
        steps, entropy = _present(metrics, f"entropy/{name}")
        normalised = entropy / most
        axes.plot(steps, normalised, color=_DECISION_COLORS[name], linewidth=1.9)
        ends[name] = normalised[-1]
    axes.set_ylim(0, 1.03)
    axes.margins(x=0.01)
    _label_ends(axes, ends)
    return figure


def _label_ends(axes: Axes, ends: dict[str, float]) -> None:
    """Write each name at the end of its line, moved up where two would touch."""
    below = -math.inf
    for name, end in sorted(ends.items(), key=lambda item: item[1]):
        below = max(end, below + 0.062)
        style = {"va": "center", "fontsize": 9.5, "fontweight": "bold", "annotation_clip": False}
        style["color"] = _DECISION_COLORS[name]
        _write(axes, name, (1, below), (6, 0), ("axes fraction", "data"), **style)


def draw_pareto(samples: Columns, front: Front) -> Figure:
    """Accuracy against cost: what was sampled, the front, the targets and the chosen networks."""
    scale, noun, suffix = COSTS[front.unit]
    figure = new_figure(7.6, 5.4)
    axes = figure.add_axes((0.1, 0.115, 0.87, 0.735))
    style_axes(axes, "Accuracy against cost", f"{noun} ({suffix})", "accuracy", title_pad=34)
    axes.yaxis.set_major_formatter(percent)
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
    _draw_front(axes, front, scale, suffix)
    _mark_targets(axes, front.targets, front.unit, upright=True)
    _draw_step_key(figure, cloud)
    legend_above(axes, 3, handletextpad=0.5, columnspacing=1.6)
    return figure


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
    _write(bar.ax, "weight step", (-0.05, 0.5), (0, 0), "axes fraction", **style)


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
