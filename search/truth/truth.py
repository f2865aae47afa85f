"""Truth of any network of a space: a regression on a table of trained ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from scipy.stats import kendalltau
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold
from torch import Tensor

from search.controllers.random_search import draw_uniform
from search.objective.objective import Objective
from search.objective.targets import Target
from search.surrogate.proposals import hits
from search.truth.objectives import Lookup
from search.truth.tables import TrainedNetworks
from supernet.errors import UserError

FOLDS, ITERATIONS = 5, 600
DRAWS = 400_000
"""Uniform architectures, among which those that hit a target are its random networks."""
PURPOSE = 5
"""Number of the luck of trainings, beside those of other measurements."""
PARENTS, GENERATIONS = 300, 40
"""Of the climb to the best network of a target: as many best ones, each changed a little."""


def _boosting() -> HistGradientBoostingRegressor:
    """Gradient boosting, as Accel-NASBench itself takes it; its interactions are no ridge's."""
    return HistGradientBoostingRegressor(
        max_iter=ITERATIONS,
        learning_rate=0.05,
        max_leaf_nodes=8,
        min_samples_leaf=10,
        random_state=0,
    )


class Truth:
    """Accuracy, in points, of any code of a table's decisions.

    Where the table knows them all it is the mean over trainings, else what gradient boosting
    predicts that was fitted to the table: of the table's own networks too, as a single training is
    partly luck.
    """

    def __init__(self, networks: TrainedNetworks) -> None:
        assert networks.codes is not None, "a truth is of decisions"
        self.networks, self.codes, self.lookup = networks, networks.codes, Lookup(networks)
        self.labels = networks.accuracies.mean(axis=1)
        self.is_complete = self.lookup.is_complete
        if not self.is_complete:
            self.model = _boosting().fit(self.codes, self.labels)

    def __call__(self, indices: Tensor) -> np.ndarray:
        """Truths (M,) of rows (M, D)."""
        if self.is_complete:
            return self.labels[self.lookup(indices)]
        return self.model.predict(indices.numpy())

    def names(self, indices: Tensor) -> list[Sequence[int]]:
        """What tells the networks of rows (M, D) apart: copies have the same."""
        if self.is_complete:
            return [(number,) for number in self.lookup(indices).tolist()]
        return indices.tolist()

    def trained(self, indices: Tensor, seed: int) -> np.ndarray:
        """What one training of each network shows (M,): one of the table's, or truth and luck.

        Raises:
            UserError: where no network was trained twice, so that the luck is not known.
        """
        accuracies, names = self.networks.accuracies, self.names(indices)
        rngs = [np.random.default_rng([seed, PURPOSE, *name]) for name in names]
        if self.is_complete and accuracies.shape[1] > 1:
            columns = [rng.integers(accuracies.shape[1]) for rng in rngs]
            return accuracies[self.lookup(indices), columns]
        if np.isnan(self.networks.deviation):
            raise UserError(
                f"{self.networks.name} has one training of each network, so that the luck of one is"
                " not known: add a column of another seed, or give --noise exact"
            )
        return self(indices) + self.networks.deviation * np.array([rng.normal() for rng in rngs])

    @cached_property
    def held_out(self) -> str:
        """Where the truth comes from, and how well it is known, in words."""
        num, luck = len(self.labels), self.networks.deviation
        trainings = f"{luck:.2f} points between trainings of one" if luck == luck else "one seed"
        if self.is_complete:
            return f"the table knows all of its {num:,} networks; {trainings}"
        predicted = np.empty(num)
        for fitted, others in KFold(FOLDS, shuffle=True, random_state=0).split(self.codes):
            model = _boosting().fit(self.codes[fitted], self.labels[fitted])
            predicted[others] = model.predict(self.codes[others])
        error = float(np.sqrt(np.mean((predicted - self.labels) ** 2)))
        tau = kendalltau(predicted, self.labels).statistic
        fitted_to = f"gradient boosting on {num:,} networks; left out, {FOLDS} folds"
        return f"{fitted_to}: tau {tau:.3f}, error {error:.2f} points; {trainings}"


@dataclass(frozen=True, eq=False)
class Field:
    """Networks that hit one target of an objective, and what they are worth.

    By default those that a search may choose. With a ``width`` those whose cost lies as far below
    the target, as a share of it; then the best is that of all at or below the target.
    """

    truth: Truth
    objective: Objective
    number: int = 0
    seed: int = 0
    width: float | None = None
    sizes: Tensor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", torch.tensor(self.truth.networks.sizes))

    @property
    def target(self) -> Target:
        """The target that they hit."""
        return self.objective.targets[self.number]

    def in_band(self, rows: Tensor) -> Tensor:
        """(M,) bool: which of rows (M, D) hit the target."""
        if self.width is None:
            return hits(self.objective, self.target, rows)
        costs = self.objective.costs.of(rows)
        return (costs >= (1 - self.width) * self.target.cost) & (costs <= self.target.cost)

    def is_eligible(self, rows: Tensor) -> Tensor:
        """(M,) bool: which of rows (M, D) the best is sought among."""
        if self.width is None:
            return self.in_band(rows)
        return self.objective.costs.of(rows) <= self.target.cost

    @cached_property
    def _drawn(self) -> Tensor:
        """Uniform architectures, or all where the truth is complete."""
        if self.truth.is_complete:
            return torch.from_numpy(self.truth.codes)
        return draw_uniform(self.sizes, DRAWS, torch.Generator().manual_seed(self.seed))

    @cached_property
    def rows(self) -> Tensor:
        """Uniform architectures (M, D) that hit it."""
        return self._drawn[self.in_band(self._drawn)]

    @cached_property
    def worths(self) -> np.ndarray:
        """Truths (M,) of ``rows``, in points."""
        return self.truth(self.rows)

    @cached_property
    def best(self) -> float:
        """Truth of the best network, as far as a long climb finds."""
        generator = torch.Generator().manual_seed(self.seed)
        if self.truth.is_complete:
            return float(self.truth(self._drawn[self.is_eligible(self._drawn)]).max())
        kept, worths = self.rows, self.worths
        for _ in range(GENERATIONS):
            order = np.argsort(-worths, kind="stable")[:PARENTS].copy()
            parents = kept[order]
            children = self._changed(parents.repeat(40, 1), generator)
            children = children[self.is_eligible(children)]
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
