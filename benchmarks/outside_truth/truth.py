"""Truth of any network of a space: a regression on a table of trained ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from scipy.stats import kendalltau
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold
from torch import Tensor

from benchmarks.outside_truth.tables import TrainedNetworks
from search.controllers.random_search import draw_uniform
from search.objective.objective import Objective
from search.objective.targets import Target
from search.surrogate.proposals import hits

FOLDS = 5
DRAWS = 400_000
"""Uniform architectures, among which those that hit a target are its random networks."""
PARENTS, GENERATIONS = 300, 40
"""Of the climb to the best network of a target: as many best ones, each changed a little."""


def _boosting() -> HistGradientBoostingRegressor:
    """Gradient boosting, as Accel-NASBench itself takes it; its interactions are no ridge's."""
    return HistGradientBoostingRegressor(
        max_iter=600, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=10, random_state=0
    )


class Truth:
    """ImageNet top-1, in points, of any architecture of a table's space."""

    def __init__(self, networks: TrainedNetworks) -> None:
        assert networks.codes is not None, "a truth is of a space"
        self.codes, self.labels = networks.codes, networks.accuracies[:, 0]
        self.model = _boosting().fit(self.codes, self.labels)

    def __call__(self, indices: Tensor) -> np.ndarray:
        """Truths (M,) of rows (M, D)."""
        return self.model.predict(indices.numpy())

    @cached_property
    def held_out(self) -> str:
        """How well regressions predict networks of the table that they have not seen, in words."""
        predicted = np.empty(len(self.labels))
        for fitted, others in KFold(FOLDS, shuffle=True, random_state=0).split(self.codes):
            model = _boosting().fit(self.codes[fitted], self.labels[fitted])
            predicted[others] = model.predict(self.codes[others])
        error = float(np.sqrt(np.mean((predicted - self.labels) ** 2)))
        tau = kendalltau(predicted, self.labels).statistic
        return f"left out, {FOLDS} folds: tau {tau:.3f}, error {error:.2f} points"


@dataclass(frozen=True, eq=False)
class Field:
    """Networks that hit one target of an objective, and what they are worth."""

    truth: Truth
    objective: Objective
    number: int = 0
    seed: int = 0
    sizes: Tensor = field(init=False)

    def __post_init__(self) -> None:
        sizes = torch.tensor(self.objective.space.decision_sizes)
        object.__setattr__(self, "sizes", sizes)

    @property
    def target(self) -> Target:
        """The target that they hit."""
        return self.objective.targets[self.number]

    @cached_property
    def rows(self) -> Tensor:
        """Uniform architectures (M, D) that hit it."""
        drawn = draw_uniform(self.sizes, DRAWS, torch.Generator().manual_seed(self.seed))
        return drawn[hits(self.objective, self.target, drawn)]

    @cached_property
    def worths(self) -> np.ndarray:
        """Truths (M,) of ``rows``, in points."""
        return self.truth(self.rows)

    @cached_property
    def best(self) -> float:
        """Truth of the best network that hits it, as far as a long climb finds."""
        generator = torch.Generator().manual_seed(self.seed)
        kept, worths = self.rows, self.worths
        for _ in range(GENERATIONS):
            order = np.argsort(-worths, kind="stable")[:PARENTS].copy()
            parents = kept[order]
            children = self._changed(parents.repeat(40, 1), generator)
            children = children[hits(self.objective, self.target, children)]
            kept = torch.unique(torch.cat([parents, children]), dim=0)
            worths = self.truth(kept)
        return float(worths.max())

    def _changed(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Rows (M, D) with up to three decisions drawn anew."""
        values = draw_uniform(self.sizes, len(rows), generator)
        places = torch.rand(rows.shape, generator=generator).argsort(dim=1)
        mutable = int((self.sizes > 1).sum())
        # Decisions without a choice are drawn in vain, so that some rows change in fewer.
        num = -(-3 * len(self.sizes) // mutable)
        return torch.where(places < num, values, rows)
