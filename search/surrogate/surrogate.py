"""Surrogate: predicts what a tuning would show of any network of the space."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from search.objective.block_tables import BlockTables
from search.surrogate.counts import BlockCounts
from search.surrogate.posterior import Posterior, fit_posterior
from search.surrogate.regression import Floats, Ridge, fit_ridge
from search.surrogate.tunings import Tuning
from supernet.space.mnasnet import MnasSpace

NUM_UNIFORM = 500
"""Networks of the space whose counts give the inputs their scale: those that are tuned lie near a
target and hardly vary in what the target fixes."""
MIDDLE, UNIT = 0.5, 0.03
"""Accuracy that stands in a reward for the mean network of the space, and for a standard deviation
above it: to gain one is worth 30 % of the target under the default reward."""


class Surrogate:
    """A ridge regression of what tunings have shown on counts of the networks.

    Args:
        space: Whose networks are predicted.
    """

    def __init__(self, space: MnasSpace) -> None:
        self.counts = BlockCounts(space)
        codes = [space.encode(arch) for arch in islice(space.samples(0), NUM_UNIFORM)]
        uniform = self.counts.of(torch.tensor(codes)).numpy()
        deviation = uniform.std(axis=0)
        self.varies = deviation > 0
        """(F,): whether a count differs between networks of the space."""
        self.centre, self.scale = uniform.mean(axis=0), np.where(self.varies, deviation, 1.0)
        self._uniform = self.inputs(torch.tensor(codes))
        self.ridge: Ridge
        """Of the loss with its sign changed: what networks are proposed by."""
        self.posterior: Posterior
        """Of the accuracy: what a person is told."""

    def inputs(self, indices: Tensor) -> Floats:
        """(M, F) counts in standard deviations of uniform networks."""
        return (self.counts.of(indices).numpy() - self.centre) / self.scale

    def fit(self, tunings: Sequence[Tuning]) -> None:
        """Learn from what networks have shown; later labels replace all earlier ones.

        A single label teaches nothing: all networks are then worth the same.
        """
        inputs = self.inputs(torch.tensor([one.code for one in tunings]))
        self.ridge = fit_ridge(inputs, np.array([-one.loss for one in tunings]))
        self.posterior = fit_posterior(inputs, np.array([one.accuracy for one in tunings]))
        predicted = self.ridge.predict(self._uniform)
        self.mean, self.deviation = float(predicted.mean()), float(predicted.std())

    def values(self, indices: Tensor) -> Tensor:
        """Predicted quality (M,), the loss with its sign changed in nats, of rows (M, D)."""
        return torch.from_numpy(self.ridge.predict(self.inputs(indices)))

    def tables(self, weights: Floats) -> BlockTables:
        """What each block adds to ``values`` under weights (F,) of the counts, up to a constant."""
        return self.counts.weighted(torch.from_numpy(weights / self.scale))

    def accuracies(self, indices: Tensor) -> Tensor:
        """Predicted quality (M,) on the scale of an accuracy, as rewards take it, in [0, 1]."""
        # By its own scale: how far labels shrink it differs from fit to fit.
        scale = self.deviation if self.deviation > 0 else 1.0
        z = (self.values(indices.cpu()) - self.mean) / scale
        return (MIDDLE + UNIT * z).clamp(0, 1).float()
