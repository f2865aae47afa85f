"""What a ranking found, as tables of text and as plain values for rank.json."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from search.evaluation.estimates import Estimate, Report
from search.evaluation.power import tau_sentence
from search.evaluation.trainings import network_hash
from search.rank.networks import NetworkGroup
from search.rank.statistics import Yardstick
from supernet.display.figures import (
    legend_above,
    new_figure,
    note_above,
    percent,
    short_count,
    style_axes,
)

_BANDS = LinearSegmentedColormap.from_list("bands", ["#D9963B", "#4B8B6F", "#2F5D92"])


def draw_ranking(
    yardstick: Yardstick, score: np.ndarray, name: str, bands: list[str], note: str
) -> Figure:
    """Mean test accuracy of each network's trainings against its score.

    Args:
        yardstick: the trainings.
        score: (N,).
        name: of the score, for the axis.
        bands: a label for each band of cost.
        note: at the right end of the title's line.
    """
    figure = new_figure(7.6, 5.4)
    axes = figure.add_axes((0.1, 0.115, 0.87, 0.735))
    style_axes(axes, "Trained alone, against the score", name, "test accuracy", title_pad=34)
    axes.yaxis.set_major_formatter(percent)
    seeds = yardstick.num_seeds
    errors = yardstick.runs.std(1, ddof=1) / np.sqrt(seeds) if seeds > 1 else None
    for number, label in enumerate(bands):
        chosen = yardstick.bands == number
        axes.errorbar(
            score[chosen],
            yardstick.truth[chosen],
            yerr=None if errors is None else errors[chosen],
            fmt="o",
            markersize=5.5,
            color=_BANDS(number / max(1, len(bands) - 1)),
            elinewidth=0.9,
            markeredgecolor="white",
            markeredgewidth=0.6,
            label=label,
        )
    note_above(axes, note, 34)
    legend_above(axes, 4, handletextpad=0.3, columnspacing=1.6)
    return figure


CEILING, PERFECT = "one training (noise ceiling)", "a perfect scorer, if normal"
TOPS = (1, 5)
"""How many of the best by a score are looked at for its regret."""
EstimateRow = dict[str, Estimate]
"""Estimates by column."""


def make_report(
    yardstick: Yardstick, scores: Mapping[str, np.ndarray], group: NetworkGroup, unit: str
) -> Report:
    """Compare scores, by name (N,) or repetitions (R, N), with trainings of a group's networks."""
    bands = {label: yardstick.tau_in_band(b) for b, label in enumerate(band_labels(group, unit))}

    def in_bands(score: np.ndarray) -> EstimateRow:
        return {label: yardstick.estimate(tau, score) for label, tau in bands.items()}

    def each(
        row: Callable[[np.ndarray], EstimateRow], left_out: Sequence[str] = ()
    ) -> dict[str, EstimateRow]:
        return {name: row(score) for name, score in scores.items() if name not in left_out}

    judges = [name for name in scores if name.startswith("supernet")]
    tables = {
        "Kendall's tau": _limits(yardstick) | each(partial(_agreement, yardstick)),
        "what it is good for": each(partial(_use, yardstick)),
        f"tau by {unit}": each(in_bands),
        **{f"{one}, less": each(partial(_gain, yardstick, scores[one]), judges) for one in judges},
    }
    name = chosen_by(scores)
    tau = yardstick.estimate(yardstick.tau, scores[name])
    conclusion = tau_sentence(name, tau, len(yardstick.runs))
    return Report(_facts(yardstick, group, unit), tables, conclusion)


def chosen_by(scores: Mapping[str, np.ndarray]) -> str:
    """The score that a search chooses by, if it is known; else the first: supernets lead."""
    return next((name for name in scores if ", tuned for" in name), next(iter(scores)))


def band_labels(group: NetworkGroup, unit: str) -> list[str]:
    """A name for each band: the costs between which it lies."""
    edges = [f"{edge:.3g}" if unit == "ms" else short_count(edge) for edge in group.edges]
    return [f"{low} to {high}" for low, high in pairwise(edges)]


def _agreement(yardstick: Yardstick, score: np.ndarray) -> EstimateRow:
    row = {
        "all": yardstick.estimate(yardstick.tau, score),
        "within bands": yardstick.estimate(yardstick.within_bands(yardstick.tau), score),
    }
    if yardstick.num_seeds > 1:
        row |= {
            "a seed left out": yardstick.estimate(yardstick.left_out, score),
            "of ceiling": yardstick.ratio_to_ceiling(score),
            "of it in bands": yardstick.ratio_to_ceiling(score, within=True),
        }
    return row


def _limits(yardstick: Yardstick) -> dict[str, EstimateRow]:
    """What noise allows: one training, and a scorer that knows the true accuracies."""
    if yardstick.num_seeds == 1:
        return {}
    ceiling = yardstick.ceiling
    perfect = {
        "all": yardstick.perfect_tau(yardstick.num_seeds),
        "a seed left out": yardstick.perfect_tau(yardstick.num_seeds - 1),
    }
    return {
        CEILING: {
            "within bands": yardstick.estimate(yardstick.within_bands(ceiling), yardstick.truth),
            "a seed left out": yardstick.estimate(ceiling, yardstick.truth),
        },
        PERFECT: {name: Estimate(value, value, value) for name, value in perfect.items()},
    }


def _use(yardstick: Yardstick, score: np.ndarray) -> EstimateRow:
    row = {
        "Spearman": yardstick.estimate(yardstick.rho, score),
        "given cost": yardstick.estimate(yardstick.tau_given_cost, score),
        "in top half": yardstick.estimate(yardstick.tau_of_top_half, score),
    }
    for top in TOPS:
        # In percentage points of accuracy.
        row[f"regret, top {top}"] = yardstick.estimate(yardstick.regret(top), score) * 100
    if yardstick.num_seeds > 1:
        limits = astuple(yardstick.estimate(yardstick.tau, score))
        row["trainings' worth"] = Estimate(*map(yardstick.equivalent_trainings, limits))
    return row


def _gain(yardstick: Yardstick, score: np.ndarray, other: np.ndarray) -> EstimateRow:
    return {
        "tau": yardstick.difference(yardstick.tau, score, other),
        "within bands": yardstick.difference(yardstick.within_bands(yardstick.tau), score, other),
    }


def _facts(yardstick: Yardstick, group: NetworkGroup, unit: str) -> list[str]:
    networks, seeds = yardstick.runs.shape
    low, middle, high = np.quantile(yardstick.truth, [0.05, 0.5, 0.95])
    edges = ", ".join(f"{edge:.4g}" for edge in group.edges)
    facts = [
        f"{networks} networks, {seeds} training(s) each; equally wide bands: {edges} {unit}",
        f"test accuracy: median {middle:.1%}, 5th to 95th percentile {low:.1%} to {high:.1%}",
    ]
    if seeds > 1:
        between = yardstick.truth.std(ddof=1)
        within = math.sqrt(yardstick.runs.var(1, ddof=1).mean())
        facts.append(
            f"standard deviation: {100 * between:.2f} points between networks,"
            f" {100 * within:.2f} between seeds; reliability {yardstick.reliability:.3f}"
        )
    return facts


def with_groups(report: Report, groups: Mapping[str, Report]) -> Report:
    """A report to which the tables of further groups of networks are added, each by its name."""
    facts, tables = list(report.facts), dict(report.tables)
    for name, group in groups.items():
        facts += [f"{name}: {fact}" for fact in group.facts]
        tables |= {f"{title}, {name}": table for title, table in group.tables.items()}
    return Report(facts, tables, report.conclusion)


def network_rows(
    group: NetworkGroup, yardstick: Yardstick, scores: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """What was found of each network, as plain values: its trainings and its scores by name.

    Of a score with repetitions, the mean of those that know the network.
    """
    rows = []
    for place, one in enumerate(group.networks):
        found = {name: np.nanmean(score[..., place]) for name, score in scores.items()}
        rows.append(
            {
                "network": network_hash(one.spec),
                "blocks": one.spec.block_strings(),
                "band": one.band,
                "cost": one.cost,
                "test": yardstick.runs[place].tolist(),
                "scores": {name: float(value) for name, value in found.items()},
            }
        )
    return rows


def ridge_sizes(
    wanted: Sequence[int], costs: Mapping[str, float | None], training: float
) -> list[int]:
    """Trainings to fit ridges to: what was asked for, and what the supernets cost on average.

    Args:
        wanted: by the user.
        costs: images x multiply-accumulates of each search, None where unknown.
        training: images x multiply-accumulates of a mean training.
    """
    known = [cost for cost in costs.values() if cost]
    own = [max(3, round(sum(known) / len(known) / training))] if known else []
    return list(dict.fromkeys([*wanted, *own]))


def supernet_costs(costs: Mapping[str, float | None], training: float) -> list[str]:
    """One line for each search: what it cost, in trainings; arguments as for ``ridge_sizes``."""
    return [
        f"{name}: {cost:.3g} images x MACs, as much as {cost / training:.1f} trainings"
        if cost
        else f"{name}: its checkpoint does not say what the search cost"
        for name, cost in costs.items()
    ]


def training_costs(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line: what trainings cost."""
    seconds, work = (
        np.array([row[name] for row in rows]) for name in ("cpu_seconds", "image_macs")
    )
    return (
        f"a training: {seconds.mean():.1f} s of CPU time, {work.mean():.3g} images x MACs;"
        f" all {len(rows)}: {seconds.sum() / 3600:.2f} h, {work.sum():.3g}"
    )
