"""Gain: what a choice is expected to have beyond a random network of its cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from search.objective.targets import BAND
from search.step import make_generator
from search.surrogate.proposals import uniform_codes
from search.surrogate.rounds import Rounds
from search.surrogate.surrogate import Surrogate
from search.surrogate.tunings import Code, Tuning

LEAST_LABELS = 3
"""Labels without which nothing is said."""
NUM_OTHERS = 100
"""Random networks of a cost, which are predicted and not trained."""


@dataclass(frozen=True)
class Gain:
    """Accuracy that a choice is expected to have beyond a random network of its cost.

    In simulated searches of 48 labels and 12 finalists, whose choice is the best of thousands by
    the same labels, 91 to 98 % of the intervals hold the true gain, whether counts explain 0, 10,
    30 or 60 % of the variance of labels, and whether 20, 50 or 80 % of the rest is a network's own
    effect (tests/search/surrogate/test_gain.py). Half of what a choice shows beyond its prediction
    is believed, although it was chosen for that: where more is real, the gain is underestimated.
    """

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
        ends = f"95 % interval {100 * self.low:+.1f} to {100 * self.high:+.1f}"
        return (
            f"expected beyond a random network of its cost: {100 * self.value:+.1f} points of"
            f" accuracy after {self.steps} steps of training ({ends}, from {self.labels} networks);"
            " a whole training was not made, and brings networks nearer to each other"
        )


def expected_gain(
    surrogate: Surrogate, chosen: Tuning, others: Sequence[Code], steps: int
) -> Gain | None:
    """What a choice is expected to gain over other networks; None where too few were tuned.

    Args:
        surrogate: Fitted to tunings of ``steps`` steps.
        chosen: The longer tuning of the choice, which began like those.
        others: Random networks of its cost.
        steps: After which they are compared.
    """
    posterior = surrogate.posterior
    if posterior.num < LEAST_LABELS:
        return None
    inputs = surrogate.inputs(torch.tensor([chosen.code, *others]))
    own = chosen.label_accuracy
    known = None if math.isnan(own) else own
    value, error = posterior.gain(inputs[0], inputs[1:], known)
    reach = _student_95(posterior.num - 1) * error
    return Gain(value, value - reach, value + reach, steps, posterior.num)


def gain_of_choice(rounds: Rounds, code: Code, number: int) -> Gain | None:
    """What the choice for a target, of that number, is expected to gain in a search."""
    generator = make_generator("uniform", rounds.module.seed, rounds.settings.rounds, number)
    objective, target = rounds.objective, rounds.objective.targets[number]
    if not target.least:  # networks of all costs hit it
        cost = objective.cost_model.predict(objective.space.spec(objective.space.decode(code)))
        target = replace(target, cost=cost, least=(1 - BAND) * cost)
    others = uniform_codes(objective, target, NUM_OTHERS, (), generator)
    chosen = next(one.tuning for one in rounds.finalists if one.tuning.code == code)
    return expected_gain(rounds.surrogate, chosen, others, rounds.module.lengths.label)


def _student_95(freedom: int) -> float:
    """Standard errors to either side of an estimate that make an interval of 95 %."""
    from scipy.stats import t  # takes a second to load

    return float(np.asarray(t.ppf(0.975, freedom)))
