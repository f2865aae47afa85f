"""Objectives on tables: costs and targets, also of decisions that no space of ours has."""

from __future__ import annotations

import re
from typing import cast

import numpy as np
import torch
from torch import Tensor

from search.objective.costs import BlockCosts
from search.objective.objective import Objective
from search.objective.reward import Reward
from search.objective.targets import Target
from search.truth.tables import TrainedNetworks
from supernet.errors import UserError

EXACT = 1e-6
"""Relative error up to which a cost is a sum over decisions."""


class Lookup:
    """Numbers of networks by their codes, where a table knows every code of its decisions."""

    def __init__(self, networks: TrainedNetworks) -> None:
        assert networks.codes is not None, "a lookup is of decisions"
        sizes, num = np.array(networks.sizes), len(networks.codes)
        self.steps = np.append(np.cumprod(sizes[::-1].astype(float))[-2::-1], 1.0)
        """What an index of each decision adds to the place of a code."""
        total = float(sizes.astype(float).prod())
        self.numbers = np.full(int(total) if total <= num + len(networks.copies) else 0, -1)
        if len(self.numbers):
            self.numbers[self._places(networks.codes)] = np.arange(num)
            if networks.copies:
                copies = np.array(list(networks.copies))
                self.numbers[self._places(copies)] = list(networks.copies.values())

    @property
    def is_complete(self) -> bool:
        """Whether every code is of a network of the table."""
        return len(self.numbers) > 0 and bool((self.numbers >= 0).all())

    def _places(self, codes: np.ndarray) -> np.ndarray:
        return (codes @ self.steps).astype(int)

    def __call__(self, rows: Tensor) -> np.ndarray:
        """Numbers (M,) of the networks of rows (M, D)."""
        return self.numbers[self._places(rows.numpy())]


class TableCosts(BlockCosts):
    """A cost of the networks of a table that lie in no space: looked up, or summed over decisions.

    Args:
        networks: With decisions.
        unit: One of their costs.

    Raises:
        UserError: where networks are missing and the cost is no sum over decisions.
    """

    def __init__(self, networks: TrainedNetworks, unit: str) -> None:
        assert networks.codes is not None, "costs are of decisions"
        self.values, self.lookup = networks.cost(unit), Lookup(networks)
        self.unit, self.name = unit, networks.name
        hot = np.concatenate(
            [
                np.eye(size)[codes]
                for size, codes in zip(networks.sizes, networks.codes.T, strict=True)
            ],
            axis=1,
        )
        weights = np.linalg.lstsq(hot, self.values, rcond=None)[0]
        missed = np.abs(hot @ weights - self.values) / self.values
        self.adds_up = bool(missed.max() < EXACT)
        """Whether the cost is a sum over decisions, so that its expectation is known."""
        self.tables = list(torch.from_numpy(weights).split(list(networks.sizes)))
        if not self.lookup.is_complete and not self.adds_up:
            raise UserError(
                f"{networks.name} lacks networks, and its {unit} is no sum over decisions, so that"
                " the cost of these is not known: name a cost that is, or the space"
            )

    def of(self, indices: Tensor) -> Tensor:
        """Costs (M,) of codes (M, D)."""
        if self.lookup.is_complete:
            return torch.from_numpy(self.values[self.lookup(indices)])
        columns = zip(self.tables, indices.T, strict=True)
        return sum((table[column] for table, column in columns), torch.zeros(len(indices)))

    def expected(self, probabilities: Tensor) -> Tensor:
        """Expected cost under independent decisions with probabilities (D, V), a scalar.

        Raises:
            UserError: for a cost that is no sum over decisions.
        """
        if not self.adds_up:
            raise UserError(
                f"{self.unit} of {self.name} is no sum over decisions, so that cost_gradient has no"
                " gradient of it: leave cost_gradient out of --controllers"
            )
        rows = zip(self.tables, probabilities, strict=True)
        parts = [table.to(row) @ row[: len(table)] for table, row in rows]
        return cast(Tensor, sum(parts[1:], parts[0]))


def make_objective(networks: TrainedNetworks, cost: str, target: str) -> Objective:
    """The objective of a search on a table, with the default reward.

    Args:
        networks: with decisions.
        cost: one of their costs; of a space macs or params.
        target: as ``resolve_target`` reads it; of a table without a space a number or a percentile
            of its networks.

    Raises:
        UserError: for a cost or a target that there is not.
    """
    if networks.space:
        return Objective.resolve(networks.space, Reward(), target, cost, None, "")
    costs = TableCosts(networks, cost)
    limit = _limit(target, costs)
    return Objective(costs, Reward(), (Target(target, limit),))


def _limit(text: str, costs: TableCosts) -> float:
    """A target as a number, at least the cheapest network's cost."""
    ordered = np.sort(costs.values)
    if percentile := re.fullmatch(r"p([0-9]{1,2}(\.[0-9]+)?|100)", text):
        place = int(float(percentile[1]) / 100 * len(ordered))
        return float(ordered[min(len(ordered) - 1, place)])
    try:
        value = float(text)
    except ValueError:
        raise UserError(
            f"target {text!r} is neither a number of {costs.unit}, nor a percentile of"
            f" {costs.name} as in 'p40'"
        ) from None
    if not ordered[0] <= value < np.inf:
        raise UserError(
            f"target {text} {costs.unit} lies below the cheapest network of {costs.name},"
            f" {ordered[0]:.4g}: raise the target"
        )
    return value
