"""What trials and searches on a truth came to: tables of estimates, paired by seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from search.evaluation.estimates import Cell, Estimate, Mean, TextTable
from search.evaluation.jobs import Row

SLICES = "slices"
"""The search that others are compared with: as it was before networks were tuned."""
BASELINE, DEFAULT = "random", "ppo"
"""The controller that others are compared with, and the one that a search has by default."""
RESAMPLES = 4000
BESIDE = {"mean of random": "regret_of_mean", "best of ten": "regret_of_best_of_ten"}
"""Columns of random networks of the target's cost, from the same rows."""
ALL = "all"
"""Name of the mean over targets."""
Regrets = dict[int, float]
"""In points, by seed."""


class Key(NamedTuple):
    """What a search is but for its seed."""

    method: str
    setting: str
    target: str


def by_seed(rows: Sequence[Row], column: str = "regret") -> Regrets:
    """Mean of a column over the targets of each seed, for seeds that have all of them."""
    targets = {row["target"] for row in rows}
    found: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        found[row["seed"]].append(row[column])
    return {
        seed: float(np.mean(values))
        for seed, values in found.items()
        if len(values) == len(targets)
    }


def ratio(ours: Regrets, theirs: Regrets) -> Estimate:
    """Mean regret over another's, of the same seeds, with a bootstrap interval over these."""
    seeds = sorted(ours.keys() & theirs.keys())
    pairs = np.array([(ours[seed], theirs[seed]) for seed in seeds])
    rng = np.random.default_rng(0)
    drawn = pairs[rng.integers(len(pairs), size=(RESAMPLES, len(pairs)))].mean(axis=1)
    value, ratios = pairs.mean(axis=0), drawn[:, 0] / drawn[:, 1]
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Estimate(float(value[0] / value[1]), float(low), float(high))


def of_targets(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of each target, and of all together where there are several."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["target"]].append(row)
    return {**found, ALL: list(rows)} if len(found) > 1 else found


def trial_tables(rows: Sequence[Row]) -> dict[str, TextTable]:
    """A table for each truth, noise and target: a row for each controller."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[f"{row['truth']}, {row['noise']}"].append(row)
    return {
        f"{title}, {target}": _trial_table(own)
        for title, some in groups.items()
        for target, own in of_targets(some).items()
    }


def _trial_table(rows: Sequence[Row]) -> TextTable:
    kinds: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        kinds[row["controller"]].append(row)
    regrets = {kind: by_seed(own) for kind, own in kinds.items()}
    return {kind: _compared(kind, regrets) | _looks(own) for kind, own in kinds.items()}


def _compared(kind: str, regrets: Mapping[str, Regrets]) -> dict[str, Cell]:
    """A controller's regret beside those of random search and of the default."""
    own = regrets[kind]
    shown: dict[str, Cell] = {"regret": Mean.of(list(own.values())).estimate}
    for other in (BASELINE, DEFAULT):
        less = gains(own, regrets.get(other, {})) if kind != other else []
        shown[f"less than {other}'s by"] = Mean.of(less).estimate if less else ""
        if other == BASELINE:
            wins = f"{sum(one > 0 for one in less)} of {len(less)}"
            shown["beats it"] = wins if less else ""
    return shown


def _looks(rows: Sequence[Row]) -> dict[str, Cell]:
    """What was looked at, and how soon it was good."""
    soon = [row["nearly_after"] for row in rows if row["nearly_after"]]
    return {
        "hypervolume, %": _mean(rows, "hypervolume") * 100,
        "hits, %": _mean(rows, "hits") * 100,
        "to 99 %": _censored(soon, len(rows), rows[0]["evaluations"]),
        "CPU s": f"{np.mean([row['cpu_seconds'] for row in rows]):.1f}",
    }


def gains(regrets: Regrets, baseline: Regrets) -> list[float]:
    """By how many points regrets are lower than the baseline's, of common seeds."""
    return [baseline[seed] - regrets[seed] for seed in sorted(regrets.keys() & baseline.keys())]


def _mean(rows: Sequence[Row], column: str) -> Estimate:
    return Mean.of(list(by_seed(rows, column).values())).estimate


def _censored(soon: Sequence[int], num: int, evaluations: int) -> str:
    """Median evaluations of all trials, of which some never came so far; and how many did.

    Where one of the middle two never did, the median lies above what it would be had it come with
    the last evaluation.
    """
    waits = [*soon, *[evaluations] * (num - len(soon))]
    over = "" if len(soon) > num // 2 else "over "
    return f"{over}{median(waits):g} ({len(soon)} of {num})"


def search_tables(rows: Sequence[Row]) -> dict[str, TextTable]:
    """A table for each setting of whole searches: a row for each method and target."""
    settings: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        settings[row["setting"]].append(row)
    return {f"whole searches, {name}": _search_table(own) for name, own in settings.items()}


def _search_table(rows: Sequence[Row]) -> TextTable:
    groups: dict[tuple[str, str], list[Row]] = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        groups |= {(method, target): some for target, some in of_targets(own).items()}
    return {
        f"{method}, {target}": _search_row(own, groups.get((SLICES, target)))
        for (method, target), own in groups.items()
    }


def _search_row(rows: Sequence[Row], before: Sequence[Row] | None) -> dict[str, Cell]:
    regrets = by_seed(rows)
    beside = {name: f"{np.mean([row[one] for row in rows]):.2f}" for name, one in BESIDE.items()}
    return {
        "regret": Mean.of(list(regrets.values())).estimate,
        "worst": f"{max(row['regret'] for row in rows):.2f}",
        **beside,
        f"over {SLICES}": ratio(regrets, by_seed(before)) if before else "-",
        "CPU s": f"{np.mean([row['cpu_seconds'] for row in rows]):.1f}",
    }


def conclusion(rows: Sequence[Row]) -> str:
    """In how many seeds the default controller beats random search, on each table."""
    told: Mapping[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        told[row["truth"], row["noise"]].append(row)
    parts = []
    for (truth, noise), own in told.items():
        ours, theirs = (
            by_seed([row for row in own if row["controller"] == kind])
            for kind in (DEFAULT, BASELINE)
        )
        if less := gains(ours, theirs):
            wins = sum(one > 0 for one in less)
            parts.append(f"{wins} of {len(less)} seeds on {truth} ({noise})")
    return (
        f"{DEFAULT} has less regret than {BASELINE} search in {', '.join(parts)}" if parts else ""
    )
