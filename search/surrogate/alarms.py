"""Alarms of a search by tunings: each says what was seen, with its figures, and what helps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import numpy as np
import torch

from search.monitoring.alarms import Alarm
from search.surrogate.proposals import APART, differences
from search.surrogate.regression import PENALTIES, Floats
from search.surrogate.rounds import Finalist, Label, Rounds

FEWEST, SHUFFLES = 4, 199
CHANCE = 0.2
"""Share of shuffled labels that may be predicted as well as the real ones."""
WORTHWHILE = 0.5
"""Standard deviations of uniform networks that proposals are to be better by; searches that went
well had 1 to 3."""
SURE = 0.05
LONGER = "raise trainer.max_steps, so that networks are tuned for longer"


@dataclass(frozen=True)
class BesideCost:
    """What counts tell of labels beside the logarithm of the cost."""

    error: float
    """Left-out error with counts and cost, in the label's unit."""
    error_of_cost: float
    """That with the cost alone; near a single target, that of the mean."""
    chance: float
    """p value: share of shuffles in which the ratio of the two is as low."""


def beside_cost(inputs: Floats, costs: Floats, labels: Floats) -> BesideCost:
    """Permutation test of a ridge on inputs (N, F) against a regression on log costs (N,).

    What the cost leaves over of the labels (N,) is dealt anew to the networks, and fitted by what
    it leaves over of the inputs (Freedman and Lane 1983). The penalty is chosen anew each time.
    """
    num = len(labels)
    if num < FEWEST:
        return BesideCost(math.nan, math.nan, 1.0)
    known = np.stack([np.ones(num), np.log(costs)], axis=1)
    left, values, _ = np.linalg.svd(known, full_matrices=False)
    basis = left[:, values > 1e-6 * values[0]]
    rest = labels - basis @ (basis.T @ labels)
    random = np.random.default_rng(0)
    columns = np.stack([rest, *(random.permutation(rest) for _ in range(SHUFFLES))], axis=1)
    alone, both = _left_out_errors(inputs, basis, columns)
    # Labels that are all alike leave nothing to tell.
    ratios = both / np.maximum(alone, np.finfo(float).tiny)
    chance = (1 + np.count_nonzero(ratios[1:] <= ratios[0])) / (1 + SHUFFLES)
    return BesideCost(float(both[0]), float(alone[0]), float(chance))


def told_beside_cost(rounds: Rounds) -> BesideCost:
    """The same of the labels of a search, in nats."""
    codes = torch.tensor([one.code for one in rounds.labels])
    costs = rounds.objective.costs.of(codes).numpy()
    return beside_cost(rounds.surrogate.inputs(codes), costs, rounds.surrogate.ridge.labels)


def _left_out_errors(inputs: Floats, basis: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """Leave-one-out errors (K,) of labels (N, K) by a basis alone, and with the best ridge."""
    labels = labels - basis @ (basis.T @ labels)
    inputs = inputs - basis @ (basis.T @ inputs)
    left, values, _ = np.linalg.svd(inputs, full_matrices=False)
    target, used = left.T @ labels, (basis**2).sum(axis=1)
    errors = []
    # Without a fit, and with each penalty.
    for kept in [np.zeros_like(values), *(values**2 / (values**2 + one) for one in PENALTIES)]:
        spare = np.maximum(1 - used - left**2 @ kept, 1e-9)
        residual = (labels - left @ (kept[:, None] * target)) / spare[:, None]
        errors.append(np.sqrt(np.mean(residual**2, axis=0)))
    return errors[0], np.min(errors[1:], axis=0)


def surrogate_alarms(rounds: Rounds) -> list[Alarm]:
    """What is wrong with the rounds, if anything: each with its figures and what to do."""
    losses = (-rounds.surrogate.ridge.labels).tolist()
    seen = [
        of_surrogate(told_beside_cost(rounds)),
        of_proposals(rounds.labels, losses),
        of_finalists(rounds.finalists, rounds.module.controller_kind),
    ]
    return [alarm for alarm in seen if alarm]


def of_surrogate(told: BesideCost) -> Alarm | None:
    """Alarm when nothing shows that counts tell more than the cost.

    By shuffles at the 20 % level: of blind surrogates three in four are found out; of those that
    explain 20 % of the variance of 48 labels one in six is accused, at 40 % one in a hundred.
    """
    if told.chance <= CHANCE:
        return None
    as_low = round(told.chance * (1 + SHUFFLES)) - 1
    figures = (
        f"fewer than {FEWEST} networks were tuned"
        if math.isnan(told.error)
        else f"left-out error {told.error:.3g} nats, {told.error_of_cost:.3g} by the cost alone,"
        f" and as much better in {as_low} of {SHUFFLES} shuffles of the labels"
    )
    seen = f"nothing shows that the surrogate tells networks of one cost apart: {figures}"
    return Alarm("surrogate blind", seen, f"{LONGER}, or model.surrogate.networks")


def of_proposals(labels: Sequence[Label], losses: Sequence[float]) -> Alarm | None:
    """Alarm when proposed networks are certainly not much better than uniform ones.

    All labels are of one length and one set of batches, so that uniform networks of all rounds
    count, each less the mean of its target. Welch's test at the 5 % level refutes that proposed
    ones are better by half a standard deviation: where they are, it cries once in twenty times at
    most; where they are no better, after 36 and 12 networks, every other time.
    """
    beside: dict[str, list[float]] = {"uniform": [], "proposed": []}
    told = list(zip(labels, losses, strict=True))
    for target in {one.target for one in labels} - {None}:
        own = [(one.origin, loss) for one, loss in told if one.target == target]
        level = [loss for origin, loss in own if origin == "uniform"]
        for origin, loss in own if len(level) > 1 else ():
            beside[origin].append(loss - fmean(level))
    if min(map(len, beside.values())) < 3:
        return None
    return _refuted(np.array(beside["uniform"]), np.array(beside["proposed"]), fmean(losses))


def _refuted(uniform: Floats, proposed: Floats, level: float) -> Alarm | None:
    from scipy.stats import ttest_ind  # takes a second to load

    deviation = float(uniform.std(ddof=1))
    test = ttest_ind(
        proposed, uniform - WORTHWHILE * deviation, equal_var=False, alternative="greater"
    )
    if not test.pvalue < SURE:
        return None
    seen = (
        f"proposed networks are no better than uniform ones: their loss is"
        f" {float(proposed.mean()):+.3g} nats beside that of uniform networks of the same target,"
        f" which differ by {deviation:.3g} (sd; {len(proposed)} and {len(uniform)} networks, mean"
        f" {level:.3f})"
    )
    return Alarm("proposals no better", seen, f"{LONGER}, or model.surrogate.first")


def of_finalists(finalists: Sequence[Finalist], controller: str) -> Alarm | None:
    """Alarm when those that a choice is made from are near copies."""
    pairs = [
        differences(one.tuning.code, other.tuning.code)
        for one, other in combinations(finalists, 2)
        if one.target == other.target
    ]
    if not pairs or fmean(pairs) >= APART:
        return None
    seen = (
        f"the finalists are alike: two of them differ in {fmean(pairs):.1f} of"
        f" {len(finalists[0].tuning.code)} decisions on average"
    )
    evolves = controller in ("evolution", "random")
    setting = "" if evolves else f", model.controller.{controller}.entropy"
    advice = f"raise model.final.samples{setting}, or allow more: model.space, model.constraints"
    return Alarm("finalists alike", seen, advice)
