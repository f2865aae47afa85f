"""What a comparison found, as tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from search.cache import Row
from search.compare_retrained import BAND, Comparison
from search.controllers import Kind
from search.means import Mean
from search.tables import Cell, Estimate
from supernet.plots import short_count

BASELINE: Kind = "random"

Table = dict[str, dict[str, Cell]]


def contest_table(rows: Mapping[Kind, Sequence[Row]]) -> Table:
    """Controllers on one supernet.

    Args:
        rows: contests of each controller, one for each seed, with the same seeds in turn.
    """
    return {kind: _contest_row(kind, rows) for kind in rows}


def _contest_row(kind: Kind, rows: Mapping[Kind, Sequence[Row]]) -> dict[str, Cell]:
    own = rows[kind]
    row: dict[str, Cell] = {"best reward, %": _percent(own, "best_reward")}
    if BASELINE in rows and kind != BASELINE:
        gains = [one["best_reward"] - two["best_reward"]
                 for one, two in zip(own, rows[BASELINE], strict=True)]  # fmt: skip
        row["less random"] = Mean.of(gains).estimate(100)
        row["beats it"] = f"{sum(gain > 0 for gain in gains)} of {len(gains)}"
    shares = [one["controller_seconds"] / one["seconds"] for one in own]
    return row | {
        "hypervolume, %": _percent(own, "hypervolume"),
        "within target": f"{Mean.of([one['within_target'] for one in own]).value:.0%}",
        "networks met": f"{Mean.of([one['networks'] for one in own]).value:.0f}",
        "controller's time": f"{Mean.of(shares).value:.1%}",
    }


def _percent(rows: Sequence[Row], name: str) -> Estimate:
    return Mean.of([row[name] for row in rows]).estimate(100)


def contest_facts(rows: Sequence[Row], top: int) -> list[str]:
    """Lines that say how the contests on one supernet were held."""
    first = rows[0]
    cost, accuracy = first["reference"]
    unit, number = first["unit"], first["evaluations"]
    held = f"target {_cost(first['target'], unit)}; {number} evaluations a contest"
    scored = f"{top} networks by a controller's own knowledge, half its favourites, half those"
    point = f"reference point {_cost(cost, unit)} (the dearest network), accuracy {accuracy:.3g}"
    return [
        f"{held}: one architecture on one reward batch, on batch statistics",
        f"re-scored: {scored} of best mean reward; recalibrated, on all validation images",
        f"hypervolume: of the front of all evaluated networks, share of the most; {point}",
    ]


def retrained_tables(comparisons: Sequence[Comparison]) -> dict[str, Table]:
    """Choices against random networks, each alone, pooled, and what they cost."""
    groups = defaultdict(list)
    for one in comparisons:
        groups[one.choice.group].append(one)
    pooled = {group: some for group, some in groups.items() if len(some) > 1}
    tables = {
        "test accuracy, %": {one.choice.name: _accuracies(one) for one in comparisons},
        "pooled, %": {group: _pooled(some) for group, some in pooled.items()},
        "network": {one.choice.name: _network(one) for one in comparisons},
    }
    return {title: table for title, table in tables.items() if table}


def _accuracies(one: Comparison) -> dict[str, Cell]:
    return {
        "choice": _points(Mean.of(one.found)),
        f"mean of {len(one.random)}": _points(Mean.of(one.random)),
        "best of them": _points(Mean.of(one.best)),
        "less mean": _points(one.less_mean),
        "less best": _points(one.less_best),
    }


def _pooled(some: Sequence[Comparison]) -> dict[str, Cell]:
    """Differences of these searches, and of what further searches would find."""
    gains = {"mean": [one.less_mean for one in some], "best": [one.less_best for one in some]}
    row: dict[str, Cell] = {"searches": str(len(some))}
    for name, means in gains.items():
        row[f"less {name}"] = _points(Mean.average(means))
        row[f"less {name}, any search"] = _points(Mean.of([mean.value for mean in means]))
    return row


def _points(mean: Mean) -> Estimate:
    """In percentage points."""
    return mean.estimate(100)


def _network(one: Comparison) -> dict[str, Cell]:
    cost, spent = one.choice.count, one.trainings_spent
    return {
        "cost": _cost(one.choice.cost, one.choice.model.unit),
        "params": short_count(cost.params),
        "MACs": short_count(cost.macs),
        **{
            f"search in trainings, {how}": f"{spent[how]:.2f}" if how in spent else "-"
            for how in ("by MACs", "by seconds")
        },
    }


def retrained_facts(comparisons: Sequence[Comparison]) -> list[str]:
    """Lines that say how networks were compared."""
    picked = "one training each picks the best by validation images"
    fresh = f"it and the choice are trained with {len(comparisons[0].found)} fresh seeds"
    pooled = "of these searches, and of any, where a search is one measurement"
    return [
        f"random networks within {BAND:.0%} of the choice's cost: {picked}; then {fresh}",
        f"less mean: by Welch; less best: paired by seed; pooled: {pooled}; t intervals of 95 %",
    ]


def _cost(value: float, unit: str) -> str:
    return f"{value:.4g} ms" if unit == "ms" else f"{short_count(value)} {unit}"
