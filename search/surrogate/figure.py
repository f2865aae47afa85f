"""Figure of what a search by tunings has learned, drawn from surrogate.json alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from supernet.display.figures import (
    ACCENT,
    FAINT,
    INK,
    MUTED,
    legend_above,
    new_figure,
    note_above,
    style_axes,
    write_beside,
)
from supernet.errors import UserError
from supernet.files.json_text import parse_json
from supernet.files.reading import read_text, typed

ORIGIN_COLORS = {"uniform": "#8FA3B8", "proposed": "#2F5D92"}
_TARGET_COLORS = ("#2F5D92", "#B7862B", "#4B8B6F", "#7A5BA6", "#5F6B78", "#86A8CC")
_LABEL_FIELDS = ("round", "cost", "loss", "accuracy", "left_out_loss")
_FINALIST_FIELDS = ("target", "cost", "loss", "predicted_loss", "val_accuracy")
_BAR = 0.235
"""Inches of a bar and its name."""


@dataclass(frozen=True)
class Known:
    """What surrogate.json holds, as far as it is drawn; losses are in nats."""

    shared_steps: int
    """Weight steps before the first tuning."""
    label_steps: int
    """Steps of a tuning to learn from."""
    final_steps: int
    """Steps of a finalist's."""
    targets: Sequence[str]
    """Their names."""
    error: float
    """Leave-one-out error of the surrogate."""
    error_of_mean: float
    """That of the mean of the others."""
    points: Sequence[Mapping[str, Any]]
    """Effects: change, points, error."""
    labels: Sequence[Mapping[str, Any]]
    """Networks that were learned from."""
    finalists: Sequence[Mapping[str, Any]]
    """Networks that were tuned for longer, to be chosen from."""


def read_known(path: Path) -> Known | None:
    """Read surrogate.json; None where a search has none, as it did not tune to learn.

    Raises:
        UserError: when the file cannot be read or lacks a field.
    """
    if not path.exists():
        return None
    try:
        return _known(parse_json(read_text(path, "run the search's last stage again").encode()))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise UserError(
            f"{path} is broken: it must hold steps, targets, leave_one_out, points, labels and"
            " finalists; run the search's last stage again"
        ) from None


def _known(fields: dict[str, Any]) -> Known:
    labels, finalists = fields["labels"], fields["finalists"]
    for rows, names in ((labels, _LABEL_FIELDS), (finalists, _FINALIST_FIELDS)):
        if not rows:
            raise ValueError("no networks")
        for row in rows:
            for name in names:
                typed(name, row[name], float)
    if {row["origin"] for row in labels} - set(ORIGIN_COLORS):
        raise ValueError("an origin of no name")
    for row in fields["points"]:
        typed("points", row["points"], float)
        typed("error", row["error"], float)
        typed("change", row["change"], str)
    targets = [typed("target", name, str) for name in fields["targets"]]
    chosen = [targets[row["target"]] for row in finalists if typed("chosen", row["chosen"], bool)]
    if set(chosen) != set(targets):
        raise ValueError("a target without a choice")
    left_out = fields["leave_one_out"]
    return Known(
        typed("shared_steps", fields["shared_steps"], int),
        typed("label_steps", fields["label_steps"], int),
        typed("final_steps", fields["final_steps"], int),
        targets,
        typed("error", left_out["error"], float),
        typed("error_of_mean", left_out["error_of_mean"], float),
        fields["points"],
        labels,
        finalists,
    )


def draw_surrogate(known: Known) -> Figure:
    """How well labels are predicted, how rounds and finalists fared, and what counts add."""
    bars = max(1, len(known.points)) * _BAR
    height = 5.25 + bars
    figure = new_figure(10.4, height)
    for place, draw in enumerate((_draw_predicted, _draw_rounds, _draw_finalists)):
        axes = figure.add_axes((0.075 + place * 0.325, 1 - 3.7 / height, 0.255, 2.75 / height))
        draw(axes, known)
        axes.yaxis.set_major_locator(MaxNLocator(5))
    axes = figure.add_axes((0.37, 0.62 / height, 0.6, bars / height))
    _draw_points(axes, known)
    return figure


def _draw_predicted(axes: Axes, known: Known) -> None:
    """Losses of labels against predictions from all others, and a line where both agree."""
    style_axes(
        axes, "Predicted and tuned", "left out, predicted loss (nats)", "tuned loss (nats)", 46
    )
    for origin, color in ORIGIN_COLORS.items():
        rows = [row for row in known.labels if row["origin"] == origin]
        if rows:
            predicted, tuned = ([row[name] for row in rows] for name in ("left_out_loss", "loss"))
            axes.scatter(predicted, tuned, s=16, color=color, linewidths=0, label=origin, zorder=3)
    ends = [max(low, other) for low, other in zip(axes.get_xlim(), axes.get_ylim(), strict=True)]
    ends[1] = min(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.axline((ends[0], ends[0]), slope=1, color=ACCENT, linewidth=1.1, linestyle=(0, (5, 3)))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    errors = f"error {known.error:.2g}, of the mean {known.error_of_mean:.2g} nats"
    _note(axes, errors)
    legend_above(axes, 2, (-0.04, 0.985), handletextpad=0.2, columnspacing=1.2)


def _draw_rounds(axes: Axes, known: Known) -> None:
    """Losses of each round's networks, with a bar at the mean of each kind."""
    style_axes(axes, "Labels by round", "round", "tuned loss (nats)", 46)
    rounds = sorted({row["round"] for row in known.labels})
    for (origin, color), aside in zip(ORIGIN_COLORS.items(), (-0.18, 0.18), strict=True):
        for number in rounds:
            losses = _losses(known, origin, number)
            if losses:
                at = number + 1 + aside
                places = at + 0.1 * np.sin(2.4 * np.arange(len(losses)))
                axes.scatter(places, losses, s=13, color=color, linewidths=0, alpha=0.75, zorder=2)
                line: dict[str, Any] = {
                    "color": color,
                    "linewidth": 2.4,
                    "zorder": 3,
                    "solid_capstyle": "butt",
                }
                axes.plot([at - 0.17, at + 0.17], [np.mean(losses)] * 2, **line)
    axes.set_xticks([number + 1 for number in rounds])
    axes.set_xlim(0.5, rounds[-1] + 1.5)
    _note(axes, f"{known.label_steps} steps each; bar: mean")


def _losses(known: Known, origin: str, number: int) -> list[float]:
    rows = [row for row in known.labels if row["origin"] == origin and row["round"] == number]
    return [row["loss"] for row in rows]


def _draw_finalists(axes: Axes, known: Known) -> None:
    """Losses of finalists, which were tuned for longer, against what was predicted of them."""
    style_axes(axes, "Finalists", "predicted loss (nats)", "tuned loss (nats)", 46)
    for number, name in enumerate(known.targets):
        rows = [row for row in known.finalists if row["target"] == number]
        color = _TARGET_COLORS[number % len(_TARGET_COLORS)]
        predicted, tuned = ([row[name] for row in rows] for name in ("predicted_loss", "loss"))
        label = "not chosen" if len(known.targets) == 1 else name
        axes.scatter(predicted, tuned, s=20, color=color, linewidths=0, label=label, zorder=2)
    best = [row for row in known.finalists if row["chosen"]]
    predicted, tuned = ([row[name] for row in best] for name in ("predicted_loss", "loss"))
    star: dict[str, Any] = {"marker": "*", "s": 170, "edgecolor": "white", "linewidth": 0.9}
    axes.scatter(predicted, tuned, color=ACCENT, label="chosen", zorder=3, **star)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    _note(axes, f"{known.final_steps} steps each")
    legend_above(axes, 4, (-0.04, 0.985), handletextpad=0.1, columnspacing=0.8, fontsize=8.5)


def _note(axes: Axes, text: str) -> None:
    """A remark under the title, above the legend's line."""
    style = {"ha": "left", "color": MUTED, "fontsize": 8.5}
    write_beside(axes, text, (0, 1), (0, 30), "axes fraction", **style)


def _draw_points(axes: Axes, known: Known) -> None:
    """A bar for each change of a network, with two standard errors to either side."""
    style_axes(axes, "", "points of accuracy", "")
    title = f"What changes the accuracy after {known.label_steps} steps, at equal other counts"
    style: dict[str, Any] = {"fontsize": 11, "fontweight": "bold", "color": INK}
    write_beside(axes, title, (0.075, 1), (0, 10), ("figure fraction", "axes fraction"), **style)
    note_above(axes, "lines: two standard errors")
    rows = sorted(known.points, key=lambda row: row["points"])
    places = np.arange(len(rows))
    values, errors = (np.array([row[name] for row in rows]) for name in ("points", "error"))
    colors = [
        ORIGIN_COLORS["proposed"] if abs(v) >= 2 * e > 0 else "#9AA8B6"
        for v, e in zip(values, errors, strict=True)
    ]
    axes.barh(places, values, 0.62, color=colors, zorder=2)
    line: dict[str, Any] = {
        "fmt": "none",
        "ecolor": INK,
        "elinewidth": 1.1,
        "capsize": 2.5,
        "zorder": 3,
    }
    axes.errorbar(values, places, xerr=2 * errors, **line)
    axes.axvline(0, color=MUTED, linewidth=0.9)
    axes.set_yticks(places, [row["change"] for row in rows])
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=FAINT, linewidth=0.8)
