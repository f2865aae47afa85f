"""Report of clouds: table, figure in the axes of the paper's figure 6, and what they show of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from search.evaluation.estimates import Cell, Estimate, Mean, TextTable, cell
from search.evaluation.jobs import Row
from search.evaluation.power import is_told
from search.paper.clouds import FAST, NEAR, SLOW
from supernet.display.figures import (
    ACCENT,
    COSTS,
    legend_above,
    new_figure,
    percent,
    style_axes,
    write_beside,
)

CloudRows = Mapping[str, Sequence[Row]]
"""Clouds by the name of their reward, one row for each seed, with the same seeds in turn."""
PARTS = {"all": "all samples", "later": "later half of the samples"}
"""Parts of a cloud by their names in a row, and in words."""
_SHARES = {
    "within": "within target, %",
    "near": f"at most {NEAR:.0%} off, %",
    "fast": f"below {FAST:.2f} T, %",
    "slow": f"above {SLOW:.2f} T, %",
}
_RATIOS = {"low": "5 % quantile / T", "middle": "median / T", "high": "95 % / T"}
_COLORS = ("#C2410C", "#2F5D92", "#4B8B6F", "#7A5BA6", "#B7862B")
_BINS, _SHOWN = 48, (0.2, 2.0)
"""Bins of a histogram, and the costs over the target that it shows."""


def cloud_tables(rows: CloudRows) -> dict[str, TextTable]:
    """Means over seeds with their intervals, by reward: of all samples, and of the later half."""
    return {
        title: {name: _cells(own, part) for name, own in rows.items()}
        for part, title in PARTS.items()
    }


def _cells(rows: Sequence[Row], part: str) -> dict[str, Cell]:
    def mean(name: str) -> Estimate:
        return Mean.of([row[part][name] for row in rows]).estimate

    return {
        "alpha, beta": _exponents(rows),
        **{title: mean(name) * 100 for name, title in _SHARES.items()},
        **{title: mean(name) for name, title in _RATIOS.items()},
        "5 to 95 % / T": mean("spread"),
        "Pareto networks": mean("front"),
        "seeds": str(len(rows)),
    }


def _exponents(rows: Sequence[Row]) -> str:
    """Alpha and beta; where seeds differ, as by the rule, from the least to the largest."""
    if rows[0]["kind"] == "absolute":
        return f"beta {rows[0]['beta']:g}"
    pairs = sorted((row["alpha"], row["beta"]) for row in rows)
    words = [f"{alpha:.3g}, {beta:.3g}" for alpha, beta in (pairs[0], pairs[-1])]
    return " to ".join(dict.fromkeys(words))


def cloud_conclusion(rows: CloudRows, hard: str, softs: Sequence[str]) -> str:
    """Whether hard concentrates below the target and soft spreads, for each soft reward.

    Args:
        rows: of all of them.
        hard: name of the hard reward.
        softs: names of soft ones.
    """
    sentences = [
        f"{PARTS[part]}, {soft}: {_verdict(rows[hard], rows[soft], part)}"
        for soft in softs
        for part in PARTS
    ]
    return "; ".join(sentences)


def _verdict(hard: Sequence[Row], soft: Sequence[Row], part: str) -> str:
    """What the paper says, tested on differences that are paired by seed."""

    def beyond(name: str, of: Callable[[float, float], float]) -> Estimate:
        pairs = zip(hard, soft, strict=True)
        return Mean.of([of(one[part][name], two[part][name]) for one, two in pairs]).estimate

    within = beyond("within", lambda one, two: 100 * (one - two))
    spread = beyond("spread", lambda one, two: two - one)
    told = (
        f"hard has {cell(within)} points more of them within the target, and soft spreads over"
        f" {cell(spread)} T more"
    )
    if all(is_told(one) and one.value > 0 for one in (within, spread)):
        return f"{told}, as figure 6 says"
    if any(is_told(one) and one.value < 0 for one in (within, spread)):
        return f"{told}, against figure 6"
    if math.isnan(within.low):
        return f"{told}; one seed cannot tell them from 0"
    return f"{told}, which {len(hard)} seeds do not tell from 0 in both"


def draw_clouds(rows: CloudRows, panels: Sequence[Sequence[str]]) -> Figure:
    """Histograms of latencies, and clouds of latency and accuracy, pooled over the seeds.

    Args:
        rows: of all rewards.
        panels: names of the rewards that are drawn together, a line of two panels for each.
    """
    figure = new_figure(9.6, 3.7 * len(panels))
    bands = figure.subfigures(len(panels), 1, squeeze=False)[:, 0]
    colors = dict(zip(rows, _COLORS, strict=False))
    for band, names in zip(bands, panels, strict=True):
        left, right = band.subplots(1, 2)
        band.subplots_adjust(left=0.075, right=0.985, top=0.8, bottom=0.15, wspace=0.2)
        own = {name: rows[name] for name in names}
        _draw_histogram(left, own, colors)
        _draw_cloud(right, own, colors)
        legend_above(left, len(names), handlelength=1.4)
    return figure


def _ratios(rows: Sequence[Row]) -> np.ndarray:
    return np.concatenate([np.array(row["cost"]) / row["target"] for row in rows])


def _draw_histogram(axes: Axes, rows: CloudRows, colors: Mapping[str, str]) -> None:
    noun = COSTS[_first(rows)["unit"]][1]
    style_axes(axes, "What was sampled", f"{noun} / target", "share of the samples", 26)
    axes.yaxis.set_major_formatter(percent)
    for name, own in rows.items():
        values = _ratios(own)
        weights = np.full(len(values), 1 / len(values))
        style: dict[str, Any] = {"color": colors[name], "label": name, "weights": weights}
        axes.hist(values, _BINS, range=_SHOWN, histtype="step", linewidth=1.7, **style)
    _mark_target(axes)


def _draw_cloud(axes: Axes, rows: CloudRows, colors: Mapping[str, str]) -> None:
    noun = COSTS[_first(rows)["unit"]][1]
    y_label = "accuracy, as the reward has it"
    style_axes(axes, "What each sample promises", f"{noun} / target", y_label, 26)
    for name, own in rows.items():
        accuracy = np.concatenate([row["accuracy"] for row in own])
        style: dict[str, Any] = {"color": colors[name], "linewidths": 0, "alpha": 0.4}
        axes.scatter(_ratios(own), accuracy, s=6, **style)
    axes.set_xlim(*_SHOWN)
    _mark_target(axes)


def _mark_target(axes: Axes) -> None:
    axes.axvline(1, color=ACCENT, linewidth=1.2, linestyle=(0, (5, 3)))
    place = ("data", "axes fraction")
    write_beside(axes, "target", (1, 1), (5, -10), place, fontsize=9)


def _first(rows: CloudRows) -> Row:
    return next(iter(rows.values()))[0]
