"""Optima of a surrogate: the best networks of a target, exactly, that differ from each other."""

import numpy as np

from search.objective.feasible import best_within, nearest_below
from search.objective.objective import Objective
from search.objective.targets import Target
from search.surrogate.proposals import APART, apart, differences
from search.surrogate.regression import Floats
from search.surrogate.surrogate import Surrogate
from search.surrogate.tunings import Code

MOST_TIMES = 4
"""Draws of the weights, at most, for each network that is asked for."""


def best_codes(
    surrogate: Surrogate, objective: Objective, target: Target, num: int, seed: int
) -> list[Code]:
    """Canonical codes of networks that hit a target, the most valuable one first.

    The first is the exact optimum of the regression. The others are the exact optima of weights
    drawn from its posterior (Thompson sampling): they differ where few labels leave open what is
    better, and agree where the labels tell. Next best optima of the same weights would differ in
    what hardly matters, and all be wrong where the regression is. Each differs from the others in
    four decisions, if so many draws give such; there are fewer where they give fewer.

    In the paper's space a network takes some .3 s, under constraints up to 2 s.

    Args:
        surrogate: That has been fitted.
        objective: With costs, and constraints to keep.
        target: To hit.
        num: How many.
        seed: Of the draws.
    """
    ridge, rng = surrogate.ridge, np.random.default_rng(seed)
    weights, found = ridge.weights, dict[Code, None]()
    for _ in range(MOST_TIMES * num):
        code = _best_code(surrogate, weights, objective, target)
        found[code] = None
        distinct = apart(found, num)
        if len(distinct) == num and _least_difference(distinct) >= APART:
            break
        weights = rng.multivariate_normal(ridge.weights, ridge.covariance, method="eigh")
    return distinct


def _best_code(surrogate: Surrogate, weights: Floats, objective: Objective, target: Target) -> Code:
    """The exact optimum under weights (F,); where none is found, the nearest below the target."""
    limits, space = objective.constraints, objective.space
    arch, _ = best_within(
        surrogate.tables(weights), objective.costs, target.least, target.cost, limits
    ) or nearest_below(objective.costs, target.cost, limits)
    return space.encode(arch)


def _least_difference(codes: list[Code]) -> float:
    """Decisions in which the two codes differ that are most alike; infinite for a single one."""
    pairs = [differences(a, b) for place, a in enumerate(codes) for b in codes[:place]]
    return min(pairs, default=np.inf)
