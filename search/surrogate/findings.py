"""What a surrogate knows: surrogate.json, its coefficients in words, gains to expect, alarms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

from search.monitoring.alarms import Alarm
from search.surrogate.counts import GATED, LAST_WIDTH, LAYERS, PARAMETERS, WIDTH
from search.surrogate.proposals import APART, differences
from search.surrogate.rounds import Label, Rounds
from search.surrogate.surrogate import Surrogate
from search.surrogate.tunings import Code
from supernet.files.writing import write_json

NORMAL_95 = 1.96
"""Standard errors to either side of an estimate that make an interval of 95 %."""
KINDS = ("kernel", "shortcut")
"""First words of counts of which each layer has one; a layer's op is a third kind."""


@dataclass(frozen=True)
class Gain:
    """Accuracy that a choice is expected to have beyond a random network of its cost."""

    value: float
    """After a tuning of ``steps`` steps, as a share of right answers."""
    low: float
    high: float
    """Ends of a 95 % interval."""
    steps: int
    labels: int
    """Networks that it was learned from."""

    @property
    def words(self) -> str:
        """What is expected, and what that is not."""
        ends = f"[{100 * self.low:+.1f} {100 * self.high:+.1f}]"
        return (
            f"expected beyond a random network of its cost: {100 * self.value:+.1f} points {ends}"
            f" after {self.steps} steps of training, by a regression on {self.labels} networks; a"
            " whole training, where all networks come nearer to each other, was not made"
        )


def expected_gain(surrogate: Surrogate, labels: Sequence[Label], code: Code, target: int) -> Gain:
    """What a choice for a target is expected to gain over the uniform networks that hit it."""
    near = [one for one in labels if one.target == target]
    # Where the space has few networks, all of them may have been proposed.
    uniform = [one for one in near if one.origin == "uniform"] or near
    value, error = surrogate.gain(code, [one.code for one in uniform])
    reach, steps = NORMAL_95 * error, labels[0].tuning.steps
    return Gain(value, value - reach, value + reach, steps, len(labels))


def in_words(surrogate: Surrogate) -> dict[str, float]:
    """Effects on the accuracy after a tuning by what is changed, in points, other counts equal.

    Every layer has an op, a kernel and a shortcut, so that each of these stands beside the mean
    layer of the space; another layer is one of that mean kind. Widths are doubled, parameters
    raised by a tenth of their mean.
    """
    names, scale = surrogate.counts.names, surrogate.scale
    each = dict(zip(names, 100 * surrogate.accuracy_ridge.weights / scale, strict=True))
    mean = dict(zip(names, surrogate.centre, strict=True))
    varies = dict(zip(names, surrogate.varies, strict=True))
    groups = _groups(names)
    of_mean = {
        kind: sum(each[name] * mean[name] for name in group) / mean[LAYERS]
        for kind, group in groups.items()
    }
    found = {"one more layer": each[LAYERS] + sum(of_mean.values())}
    for kind, group in groups.items():
        told = {name: each[name] - of_mean[kind] for name in group if varies[name]}
        found |= {f"a layer with {name} instead of the mean {kind}": told[name] for name in told}
    found |= {
        "a layer with squeeze-and-excitation": each[GATED],
        "a block of twice the width": each[WIDTH] * math.log(2),
        "... the last block": (each[WIDTH] + each[LAST_WIDTH]) * math.log(2),
        "a tenth more parameters than the mean": each[PARAMETERS] * mean[PARAMETERS] / 10,
    }
    return found


def _groups(names: Sequence[str]) -> dict[str, list[str]]:
    groups = {kind: [name for name in names if name.startswith(f"{kind} ")] for kind in KINDS}
    others = {LAYERS, GATED, PARAMETERS, WIDTH, LAST_WIDTH, *chain(*groups.values())}
    return {"op": [name for name in names if name not in others], **groups}


def tau(one: Sequence[float], other: Sequence[float]) -> float:
    """Kendall's tau; NaN where one of them tells nothing apart."""
    from scipy.stats import kendalltau  # takes a second to load

    return float(kendalltau(one, other).statistic)


def write_surrogate(path: Path, rounds: Rounds, gains: Mapping[str, Gain]) -> None:
    """Write surrogate.json, from which the figure is drawn and later choices are made.

    Args:
        path: of the file.
        rounds: that have been run.
        gains: expected of the choice for each target, by its name.
    """
    surrogate, ridge = rounds.surrogate, rounds.surrogate.ridge
    codes = torch.tensor([one.code for one in rounds.labels])
    rows = zip(
        rounds.labels, surrogate.values(codes).tolist(), ridge.left_out.tolist(), strict=True
    )
    content = {
        "label_steps": rounds.module.lengths.label,
        "final_steps": rounds.module.lengths.final,
        "shared_steps": rounds.module.shared_steps,
        "targets": [target.name for target in rounds.objective.targets],
        "penalty": ridge.penalty,
        "leave_one_out": {
            "error": ridge.error,
            "error_of_mean": ridge.error_of_mean,
            "tau": tau(ridge.labels.tolist(), ridge.left_out.tolist()),
        },
        "points": in_words(surrogate),
        "expected": {name: vars(gain) for name, gain in gains.items()},
        "labels": [_label(*row) for row in rows],
        "finalists": [
            {
                "arch": one.tuning.code,
                "target": one.target,
                "loss": one.tuning.loss,
                "accuracy": one.tuning.accuracy,
                "val_accuracy": one.tuning.val_accuracy,
                "predicted_loss": -one.predicted,
            }
            for one in rounds.finalists
        ],
    }
    write_json(path, content)


def _label(label: Label, predicted: float, left_out: float) -> dict[str, Any]:
    tuning = label.tuning
    return {
        "arch": label.code,
        "round": label.round,
        "origin": label.origin,
        "target": label.target,
        "loss": tuning.loss,
        "accuracy": tuning.accuracy,
        "predicted_loss": -predicted,
        "left_out_loss": -left_out,
    }


def surrogate_alarms(rounds: Rounds) -> list[Alarm]:
    """What is wrong with the rounds, if anything: each with its figures and what to do."""
    ridge, labels = rounds.surrogate.ridge, rounds.labels
    alarms = []
    longer = "raise trainer.max_steps, so that networks are tuned for longer"
    if not ridge.tells:
        seen = (
            f"the surrogate tells networks of one cost apart no better than their cost does:"
            f" leave-one-out error {ridge.error:.3g} nats, penalty {ridge.penalty:g}"
        )
        alarms.append(Alarm("surrogate blind", seen, f"{longer}, or surrogate.networks"))
    known = [one for one in labels if one.target is not None]
    later = {
        origin: [one.tuning.loss for one in known if one.round and one.origin == origin]
        for origin in ("uniform", "proposed")
    }
    if min(map(len, later.values())) > 1 and fmean(later["proposed"]) >= fmean(later["uniform"]):
        seen = "proposed networks are no better than uniform ones: losses of " + " and ".join(
            f"{fmean(losses):.3f} (sd {stdev(losses):.3f}, {len(losses)} {origin})"
            for origin, losses in later.items()
        )
        alarms.append(Alarm("proposals no better", seen, f"{longer}, or surrogate.first"))
    pairs = [
        differences(one.tuning.code, other.tuning.code)
        for one, other in combinations(rounds.finalists, 2)
        if one.target == other.target
    ]
    if pairs and fmean(pairs) < APART:
        seen = f"the finalists are alike: they differ in {fmean(pairs):.1f} decisions on average"
        advice = "raise final.samples, or widen the space or the constraints"
        alarms.append(Alarm("finalists alike", seen, advice))
    return alarms
