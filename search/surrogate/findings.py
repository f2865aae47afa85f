"""What a search by tunings has learned: in words, in lines for a person, and as surrogate.json."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from search.surrogate.alarms import told_beside_cost
from search.surrogate.counts import GATED, LAST_WIDTH, LAYERS, PARAMETERS, SIZE, WIDTH
from search.surrogate.gain import Gain
from search.surrogate.regression import Floats
from search.surrogate.rounds import Finalist, Label, Rounds
from search.surrogate.surrogate import Surrogate
from search.surrogate.tunings import Tuning
from supernet.files.writing import write_atomic
from supernet.tracking.metrics import log_metrics

KINDS = ("kernel", "shortcut")
"""First words of counts of which each layer has one; a layer's op is a third kind."""
MOST_LINES = 4
CERTAIN = 2.0
"""Standard errors from 0 of the effects that a summary names."""


@dataclass(frozen=True)
class Effect:
    """What a change of a network adds to its accuracy after a tuning, its other counts equal."""

    change: str
    """In words."""
    points: float
    """Hundredths of the right answers."""
    error: float
    """Standard error, in points."""


def effects(surrogate: Surrogate) -> list[Effect]:
    """Coefficients of a surrogate in words, of all changes that its space allows.

    Every layer has an op, a kernel and a shortcut, so that counts of these add up to the layers and
    none can change alone: each stands beside the mean layer of the space, and one more layer has
    the mean of all three. Nothing else changes with them: a layer's op neither its parameters nor
    its width, which have effects of their own.
    """
    changes = _changes(surrogate)
    directions = np.stack([*changes.values()]) / surrogate.scale
    points = 100 * directions @ surrogate.posterior.weights
    errors = 100 * surrogate.posterior.errors(directions)
    rows = zip(changes, points.tolist(), errors.tolist(), strict=True)
    return [Effect(*row) for row in rows]


def _changes(surrogate: Surrogate) -> dict[str, Floats]:
    """Changes of the counts (F,), by their names."""
    names = surrogate.counts.names
    one = dict(zip(names, np.eye(len(names)), strict=True))
    mean = dict(zip(names, surrogate.centre.tolist(), strict=True))
    varies = {name for name, moves in zip(names, surrogate.varies, strict=True) if moves}
    groups = _groups(names)
    of_mean = {
        kind: sum((one[name] * mean[name] for name in group), np.zeros(len(names))) / mean[LAYERS]
        for kind, group in groups.items()
    }
    changes = {"one more layer": one[LAYERS] + sum(of_mean.values())} if LAYERS in varies else {}
    for kind, group in groups.items():
        free = [name for name in group if name in varies and len(group) > 1]
        changes |= {_each(name, kind): one[name] - of_mean[kind] for name in free}
    others = {
        GATED: ("each squeeze-and-excitation", one[GATED]),
        WIDTH: ("each block twice as wide", one[WIDTH] * math.log(2)),
        LAST_WIDTH: ("the last block twice as wide", (one[WIDTH] + one[LAST_WIDTH]) * math.log(2)),
        SIZE: ("each block of twice the parameters", one[SIZE] * math.log(2)),
        PARAMETERS: (
            "a tenth more parameters than the mean",
            one[PARAMETERS] * mean[PARAMETERS] / 10,
        ),
    }
    return changes | dict(pair for name, pair in others.items() if name in varies)


def _each(name: str, kind: str) -> str:
    """A change of one layer, by the name of the count that grows."""
    if kind == "op":
        what = f"{name} layer"
    elif name == "shortcut none":
        what = "layer without shortcut"
    else:
        what = " ".join(reversed(name.split())) if kind == "shortcut" else name
    return f"each {what} instead of the mean {kind}"


def _groups(names: Sequence[str]) -> dict[str, list[str]]:
    groups = {kind: [name for name in names if name.startswith(f"{kind} ")] for kind in KINDS}
    others = {LAYERS, GATED, PARAMETERS, SIZE, WIDTH, LAST_WIDTH, *chain(*groups.values())}
    return {"op": [name for name in names if name not in others], **groups}


def summary_lines(rounds: Rounds) -> list[str]:
    """What has been learned, for a person; surrogate.png and surrogate.json have the rest."""
    ridge, steps = rounds.surrogate.ridge, rounds.module.lengths.label
    by_origin = means_by_origin(rounds.labels)
    counts = Counter(one.origin for one in rounds.labels)
    origins = ", ".join(f"{num} {origin}" for origin, num in counts.items())
    lines = [
        f"learned from {len(rounds.labels)} networks ({origins}), tuned for {steps} steps each"
    ]
    if not rounds.module.shared_steps:
        num = len(
            {one.code for one in rounds.labels} | {one.tuning.code for one in rounds.finalists}
        )
        lines.append(f"no weights were shared: each of the {num} networks began afresh")
    lines.append(
        f"predicted against tuned, each left out: loss to {ridge.error:.3g} nats,"
        f" {ridge.error_of_mean:.3g} by the mean of the others"
    )
    if len(by_origin) > 1:
        losses = " against ".join(f"{one.loss:.3f}" for one in by_origin.values())
        shares = " against ".join(f"{100 * one.accuracy:.1f}" for one in by_origin.values())
        lines.append(f"uniform against proposed: loss {losses} nats, accuracy {shares} %")
    return lines + effect_lines(effects(rounds.surrogate), steps)


def effect_lines(found: Sequence[Effect], steps: int) -> list[str]:
    """The strongest of the effects that are certainly not 0, in a line each."""
    certain = [one for one in found if abs(one.points) >= CERTAIN * one.error > 0]
    if not certain:
        return [f"no count shows an effect on the accuracy after {steps} steps"]
    strongest = sorted(certain, key=lambda one: -abs(one.points))[:MOST_LINES]
    width = max(len(one.change) for one in strongest)
    rows = [f"  {one.change:<{width}} {one.points:+6.2f} +- {one.error:.2f}" for one in strongest]
    return [f"points of accuracy after {steps} steps, at equal other counts:", *rows]


@dataclass(frozen=True)
class Means:
    """Means over networks that were learned from."""

    num: int
    loss: float
    """Nats."""
    accuracy: float
    """Share of right answers."""


def means_by_origin(labels: Sequence[Label]) -> dict[str, Means]:
    """Means of uniform and of proposed networks; one that there are none of is left out.

    Where there are both, each target that has both weighs alike, however many it has.
    """
    parts: dict[str, dict[int, list[Tuning]]] = {"uniform": {}, "proposed": {}}
    for one in labels:
        if one.target is not None:
            parts[one.origin].setdefault(one.target, []).append(one.tuning)
    parts = {origin: groups for origin, groups in parts.items() if groups}
    shared = set.intersection(*map(set, parts.values())) if parts else set()
    return {
        origin: _means([own for target, own in groups.items() if target in shared or not shared])
        for origin, groups in parts.items()
    }


def _means(groups: Sequence[Sequence[Tuning]]) -> Means:
    return Means(
        sum(map(len, groups)),
        fmean(fmean(one.loss for one in own) for own in groups),
        fmean(fmean(one.accuracy for one in own) for own in groups),
    )


def log_round(rounds: Rounds) -> None:
    """Log what the newest round has shown, and what the surrogate is worth since."""
    if not rounds.module.trainer.is_global_zero:
        return
    newest = rounds.labels[-1].round
    fresh = means_by_origin([one for one in rounds.labels if one.round == newest])
    told = leave_one_out(rounds)
    values = {
        "labels/number": len(rounds.labels),
        **{f"labels/{origin}_loss": one.loss for origin, one in fresh.items()},
        "surrogate/leave_one_out_error": told["error"],
        "surrogate/error_of_mean": told["error_of_mean"],
        "surrogate/tau": told["tau"],
        "surrogate/penalty": rounds.surrogate.ridge.penalty,
    }
    finite = {name: value for name, value in values.items() if value is not None}
    log_metrics(rounds.module.trainer, finite, rounds.module.steps_done + rounds.updates)


def leave_one_out(rounds: Rounds) -> dict[str, float | None]:
    """How well labels are predicted from all others; errors in nats."""
    ridge, told = rounds.surrogate.ridge, told_beside_cost(rounds)
    named = {
        "error": ridge.error,
        "error_of_mean": ridge.error_of_mean,
        "error_of_cost": told.error_of_cost,
        "error_beside_cost": told.error,
        "chance": told.chance,
        "tau": tau(ridge.labels.tolist(), ridge.left_out.tolist()),
    }
    return {name: value if math.isfinite(value) else None for name, value in named.items()}


def tau(one: Sequence[float], other: Sequence[float]) -> float:
    """Kendall's tau; NaN where one of them tells nothing apart."""
    from scipy.stats import kendalltau  # takes a second to load

    return float(kendalltau(one, other).statistic) if len(one) > 1 else math.nan


def write_surrogate(
    path: Path, rounds: Rounds, gains: Mapping[str, Gain], chosen: Sequence[Sequence[int]]
) -> None:
    """Write surrogate.json, from which the figure is drawn.

    Args:
        path: of the file.
        rounds: that have been run.
        gains: expected of the choice for each target, by its name.
        chosen: codes of the choices for the targets.
    """
    module, objective = rounds.module, rounds.objective
    content = {
        "shared_steps": module.shared_steps,
        "label_steps": module.lengths.label,
        "final_steps": module.lengths.final,
        "unit": objective.cost_model.unit,
        "targets": [target.name for target in objective.targets],
        "penalty": rounds.surrogate.ridge.penalty,
        "leave_one_out": leave_one_out(rounds),
        "expected": {name: asdict(gain) for name, gain in gains.items()},
        "points": [asdict(effect) for effect in effects(rounds.surrogate)],
        "labels": _label_rows(rounds),
        "finalists": _finalist_rows(rounds, chosen),
    }
    write_atomic(path, rows_in_lines(content).encode())


def _label_rows(rounds: Rounds) -> list[dict[str, Any]]:
    labels, surrogate = rounds.labels, rounds.surrogate
    codes = torch.tensor([one.code for one in labels])
    columns = [
        surrogate.values(codes),
        torch.from_numpy(surrogate.ridge.left_out),
        rounds.objective.costs.of(codes),
    ]
    return [
        {
            "round": label.round,
            "origin": label.origin,
            "target": label.target,
            "cost": cost,
            "loss": label.tuning.loss,
            "accuracy": label.tuning.accuracy,
            "predicted_loss": -predicted,
            "left_out_loss": -left_out,
            "arch": label.code,
        }
        for label, predicted, left_out, cost in zip(
            labels, *(column.tolist() for column in columns), strict=True
        )
    ]


def _finalist_rows(rounds: Rounds, chosen: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    def row(one: Finalist, cost: float) -> dict[str, Any]:
        return {
            "target": one.target,
            "chosen": tuple(chosen[one.target]) == one.tuning.code,
            "cost": cost,
            "loss": one.tuning.loss,
            "accuracy": one.tuning.accuracy,
            "val_accuracy": one.tuning.val_accuracy,
            "predicted_loss": -one.predicted,
            "arch": one.tuning.code,
        }

    codes = torch.tensor([one.tuning.code for one in rounds.finalists])
    costs = rounds.objective.costs.of(codes).tolist()
    return [row(one, cost) for one, cost in zip(rounds.finalists, costs, strict=True)]


def rows_in_lines(content: Mapping[str, Any]) -> str:
    """JSON with a line for each field, and for each row of a list of objects."""
    lines = []
    for name, value in content.items():
        text = json.dumps(value, allow_nan=False)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = ",\n  ".join(json.dumps(row, allow_nan=False) for row in value)
            text = f"[\n  {rows}\n ]"
        lines.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
