"""A planted truth: what tunings would show if it were linear in a network's counts."""

from functools import cache
from itertools import islice
from types import SimpleNamespace

import numpy as np
import torch

from search.objective.costs import BlockCosts
from search.objective.objective import Objective
from search.objective.reward import Reward
from search.objective.targets import resolve_targets
from search.settings import Final, Lengths, Sampling, SurrogateSettings
from search.surrogate.counts import BlockCounts
from search.surrogate.tunings import Tuning
from supernet.cost.model import CLOSED_FORMS
from supernet.space.mnasnet import MnasSpace

PLAIN = MnasSpace(
    base_filters=(16, 24, 40),
    base_layers=(1, 1, 2),
    strides=(1, 2, 2),
    stem=16,
    stem_stride=1,
    head=32,
    resolution=16,
    classes=10,
)
"""Three blocks with every decision."""


def codes_of(space, num, seed=0):
    """Canonical codes of uniform networks."""
    archs = islice(space.samples(seed), num)
    return [space.encode(space.canonical(arch)) for arch in archs]


counts_in = cache(BlockCounts)


class Truth:
    """Losses and accuracies of networks: linear in their counts, and noise of each network's own.

    In units of a standard deviation of the counts of uniform networks, of which ``spread`` are a
    standard deviation of the truth.
    """

    def __init__(self, space, seed=0, noise=0.0, spread=0.1):
        self.counts, self.noise, self.seed = counts_in(space), noise, seed
        inputs = self.counts.of(torch.tensor(codes_of(space, 300, seed=99))).numpy()
        self.centre, self.scale = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-9)
        weights = np.random.default_rng(seed).normal(size=len(self.scale))
        weights[inputs.std(axis=0) == 0] = 0
        self.weights = weights / ((inputs - self.centre) / self.scale @ weights).std() * spread
        self.tuned = []

    def accuracy(self, code):
        """The accuracy of a network without noise."""
        counts = self.counts.of(torch.tensor([code])).numpy()[0]
        return 0.5 + float((counts - self.centre) / self.scale @ self.weights)

    def tuning(self, code, steps=4, judged=False):
        """What a tuning shows, the same each time."""
        own = np.random.default_rng([self.seed, *code]).normal()
        shown = self.accuracy(code) + self.noise * own
        return Tuning(tuple(code), steps, 2.0 - shown, shown, *[shown][: int(judged)])

    def of(self, codes, steps, judged=False):
        """In the place of ``Tunings.of``."""
        self.tuned.append((list(codes), steps, judged))
        return [self.tuning(code, steps, judged) for code in codes]


@cache
def objective_of(space, *targets, unit="macs", limits=()):
    """An objective whose targets have their bands: the same each time, as percentiles take long."""
    costs = BlockCosts(space, CLOSED_FORMS[unit])
    return Objective(costs, Reward(), resolve_targets(list(targets), costs, limits), limits)


def search_of(controller, objective, **settings):
    """What rounds know of a search, without a supernet and images."""
    controller.prepare(objective)
    return SimpleNamespace(
        space=objective.space,
        objective=objective,
        controller=controller,
        surrogate=SurrogateSettings(**settings),
        sampling=Sampling(samples=20),
        final=Final(samples=64, candidates=6),
        lengths=Lengths(4, 4),
        seed=0,
        steps_done=0,
        shared_steps=0,
        trainer=SimpleNamespace(is_global_zero=False),
    )
