"""Regrets of searches as a table: means over seeds with intervals, beside random networks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.record import print_head
from search.evaluation.estimates import Estimate, Mean, cell
from search.evaluation.jobs import Row
from supernet.command.output import new_table, print_table

SLICES = "slices"
"""The method that others are compared with: a search as it was before."""
RESAMPLES = 4000
BESIDE = {"mean of random": "regret_of_mean", "best of ten": "regret_of_best_of_ten"}
"""Columns of random networks of the target's cost, from the same rows."""
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


def print_report(rows: Sequence[Row]) -> None:
    """Print a line for each method, setting and target, and for all targets together."""
    print_head(rows)
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        for target in (row["target"], "all"):
            groups[Key(row["method"], row["setting"], target)].append(row)
    head = ["regret", "worst", *BESIDE, f"over {SLICES}", "CPU s"]
    table = new_table("setting", "method", "target", *head, left=["setting", "method", "target"])
    for key, own in sorted(groups.items(), key=lambda item: (item[0].setting, item[0].method)):
        before = groups.get(key._replace(method=SLICES))
        table.add_row(key.setting, key.method, key.target, *_cells(own, before))
    print_table(table)


def _cells(rows: Sequence[Row], before: Sequence[Row] | None) -> list[str]:
    regrets = by_seed(rows)
    shown = [
        cell(Mean.of(list(regrets.values())).estimate),
        f"{max(row['regret'] for row in rows):.2f}",
    ]
    shown += [f"{np.mean([row[column] for row in rows]):.2f}" for column in BESIDE.values()]
    shown.append(cell(ratio(regrets, by_seed(before))) if before else "-")
    return [*shown, f"{np.mean([row['cpu_seconds'] for row in rows]):.1f}"]
