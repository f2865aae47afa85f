"""The figures of a search, drawn from the files of its run and from nothing else.

``draw_run`` writes them all; the functions that it calls return figures, for notebooks and loggers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from search.front import WAY_OUT, Front, draw_pareto, mark_targets, read_front
from search.objective.targets import file_names
from search.surrogate.figure import Known, draw_surrogate, read_known
from supernet.arch_file import ArchFile, read_arch
from supernet.display.figures import (
    ACCENT,
    COSTS,
    MUTED,
    draw_network,
    new_figure,
    note_above,
    percent,
    save_figure,
    style_axes,
    write_beside,
)
from supernet.errors import UserError
from supernet.files.csv_table import Columns, read_columns
from supernet.space.arch import DECISIONS
from supernet.space.mnasnet import MnasSpace

_LINE = "#2F5D92"
_COLORS = ("#2F5D92", "#C2410C", "#4B8B6F", "#B7862B", "#7A5BA6", "#5F6B78")
_DECISION_COLORS = dict(zip(DECISIONS, _COLORS, strict=True))


def draw_run(folder: str | Path) -> list[Path]:
    """The files drawn of a finished search, in its folder ``figures``.

    The run has metrics.csv, samples.csv, pareto.json, each target's arch.json, and surrogate.json
    where networks were tuned to learn from. Where no weights were shared there is no loss to draw.

    Raises:
        UserError: naming the file that is missing or broken.
    """
    folder = Path(folder)
    known = read_known(folder / "surrogate.json")
    metrics = read_columns(folder / "metrics.csv", _metric_names(known), WAY_OUT)
    samples = read_columns(folder / "samples.csv", ("step", "accuracy", "cost", "reward"), WAY_OUT)
    front = read_front(folder / "pareto.json")
    found = _chosen(folder, front)
    figures = {"loss.png": draw_loss(metrics, found[0].classes)} if LOSS in metrics else {}
    figures |= {
        "progress.png": draw_progress(metrics, front.targets, front.unit, known),
        "entropy.png": draw_entropy(metrics, found[0].space, known),
        "pareto.png": draw_pareto(samples, front, known),
    }
    if known:
        figures["surrogate.png"] = draw_surrogate(known)
    return _save(folder, {**figures, **_networks(found, front)})


def draw_choices(folder: str | Path) -> list[Path]:
    """The files drawn of what was chosen from a finished search, in its folder ``figures``.

    The folder has pareto.json, surrogate.json and each target's arch.json.

    Raises:
        UserError: naming the file that is missing or broken.
    """
    folder = Path(folder)
    known, front = read_known(folder / "surrogate.json"), read_front(folder / "pareto.json")
    figures = _networks(_chosen(folder, front), front)
    if known:
        figures |= {
            "pareto.png": draw_pareto({}, front, known),
            "surrogate.png": draw_surrogate(known),
        }
    return _save(folder, figures)


def _chosen(folder: Path, front: Front) -> list[ArchFile]:
    """The network of each target."""
    return [read_arch(folder / name) for name in file_names([*front.targets], "arch", ".json")]


def _networks(found: Sequence[ArchFile], front: Front) -> dict[str, Figure]:
    """A drawing of each target's network, by the name of its file."""
    names = [*front.targets]
    titles = file_names(names, "The chosen network", "")
    rows = zip(file_names(names, "network", ".png"), titles, found, strict=True)
    return {name: draw_network(one.spec, title) for name, title, one in rows}


def _save(folder: Path, figures: Mapping[str, Figure]) -> list[Path]:
    """Write figures into a run's folder ``figures``; their files."""
    (folder / "figures").mkdir(exist_ok=True)
    paths = [folder / "figures" / name for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        save_figure(figure, path)
    return paths


LOSS = "train/loss"


def _metric_names(known: Known | None) -> list[str]:
    """Columns of metrics.csv that are drawn."""
    names = ["step", "reward/mean", _score(known), "cost/mean"]
    names += [f"entropy/{name}" for name in DECISIONS]
    return names if known and not known.shared_steps else [*names, LOSS]


def _score(known: Known | None) -> str:
    return "surrogate/value" if known else "reward/accuracy"


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Centred moving average of ``window`` values; fewer, never padded, at the ends."""
    kernel = np.ones(window)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def draw_loss(metrics: Columns, classes: int) -> Figure:
    """Loss of the shared weights against weight steps, beside that of guessing ``classes``."""
    figure = new_figure(7.6, 3.8)
    axes = figure.add_axes((0.09, 0.15, 0.88, 0.7))
    style_axes(axes, "Loss of the shared weights", "weight steps", "cross-entropy, nats")
    window = _draw_series(axes, *_present(metrics, LOSS))
    note_above(axes, f"thin: one path on one batch, thick: mean of {window}")
    guessing = math.log(classes)
    axes.axhline(guessing, color=ACCENT, linewidth=1.2, linestyle=(0, (5, 3)))
    text = f"guessing one of {classes} classes"
    write_beside(axes, text, (1, guessing), (-6, 5), ("axes fraction", "data"), ha="right")
    first_update = _present(metrics, "reward/mean")[0][0]
    axes.axvline(first_update, color=MUTED, linewidth=0.9)
    place = ("data", "axes fraction")
    write_beside(axes, "the controller takes over", (first_update, 0), (-6, 8), place, ha="right")
    return figure


def draw_progress(
    metrics: Columns, targets: Mapping[str, float], unit: str, known: Known | None = None
) -> Figure:
    """Reward, score and cost of the sampled networks against weight steps.

    Where networks were tuned to learn from (``known``), against the updates that followed.
    """
    scale, noun, suffix = COSTS[unit]
    score = "Surrogate of the sampled networks (sd)" if known else "Score of the sampled networks"
    panels = {
        "reward/mean": ("Reward of the sampled networks", 1.0),
        _score(known): (score, 1.0),
        "cost/mean": (f"{noun.capitalize()} of the sampled networks ({suffix})", scale),
    }
    figure = new_figure(7.6, 7.6)
    grid = figure.subplots(3, 1, sharex=True)
    for axes, (name, (title, divisor)) in zip(grid, panels.items(), strict=True):
        steps, values = _present(metrics, name)
        style_axes(axes, title, "", "")
        window = _draw_series(axes, _updates(steps, known), values / divisor)
    note_above(grid[0], f"thin: each update, thick: mean of {window} updates")
    if known:
        note_above(grid[1], "0: the mean uniform network, by the labels so far")
    else:
        grid[1].yaxis.set_major_formatter(percent)
    mark_targets(grid[2], targets, unit, upright=False)
    grid[2].set_xlabel(_time(known), fontsize=9.5, color=MUTED)
    figure.subplots_adjust(left=0.09, right=0.97, top=0.94, bottom=0.08, hspace=0.4)
    return figure


def _updates(steps: np.ndarray, known: Known | None) -> np.ndarray:
    """Places on an axis of time: weight steps, or the numbers of updates that followed them."""
    return steps - known.shared_steps + 1 if known else steps


def _time(known: Known | None) -> str:
    """Label of that axis."""
    if not known:
        return "weight steps"
    if not known.shared_steps:
        return "updates of the controller"
    return f"updates of the controller, after {known.shared_steps} weight steps"


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


def draw_entropy(metrics: Columns, space: MnasSpace, known: Known | None = None) -> Figure:
    """How sure the controller is of each decision: 1 is uniform, 0 is decided.

    ``metrics`` holds ``entropy/NAME`` in nats, the mean over the blocks of ``space``; ``known`` is
    what a search by tunings learned from.
    """
    figure = new_figure(7.6, 4.2)
    axes = figure.add_axes((0.1, 0.14, 0.76, 0.74))
    style_axes(axes, "What the controller has decided", _time(known), "entropy / log n")
    note_above(axes, "1: uniform over the n choices, 0: decided")
    ends = {}
    for name in DECISIONS:
        most = fmean(math.log(len(block[name])) for block in space.choices)
        if not most:
            continue
        steps, entropy = _present(metrics, f"entropy/{name}")
        normalised = entropy / most
        axes.plot(_updates(steps, known), normalised, color=_DECISION_COLORS[name], linewidth=1.9)
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
        write_beside(axes, name, (1, below), (6, 0), ("axes fraction", "data"), **style)
