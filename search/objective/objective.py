"""What a search is after: asked for, priced, and as the goal of a controller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from search.objective.constraints import Constraint, Limit, resolve_constraints
from search.objective.costs import cost_model
from search.objective.reward import Reward
from search.objective.targets import Requested, Target, resolve_targets
from supernet.cost.model import CostModel
from supernet.space.mnasnet import MnasSpace


class Priced(NamedTuple):
    """What it means on a space and a device."""

    cost_model: CostModel
    targets: tuple[Target, ...]
    constraints: tuple[Limit, ...]


@dataclass(frozen=True)
class Asked:
    """Target, constraints, and what prices networks; see ``SearchModule``."""

    target: Requested
    cost: str
    table: str | None
    table_cache: Path
    constraints: Sequence[Constraint]

    def priced(self, space: MnasSpace) -> Priced:
        """Load or measure what prices networks, and make numbers of targets and limits.

        Raises:
            UserError: for a table that does not fit, and for a target or limit that no network
                meets.
        """
        model = cost_model(self.cost, space, self.table, self.table_cache)
        limits = resolve_constraints(self.constraints, space, self.table_cache)
        return Priced(model, resolve_targets(self.target, model, space, limits), limits)


@dataclass(frozen=True)
class Goal:
    """What a search is after, known when the device has been measured."""

    space: MnasSpace
    cost_model: CostModel
    reward: Reward
    targets: tuple[float, ...]
    """Upper limits of the cost, in its unit."""
    constraints: tuple[Limit, ...] = ()
    """Further limits, on other costs."""

    def limits(self, numbers: Tensor) -> Tensor:
        """(M,) targets by their numbers (M,), on the same device."""
        return torch.tensor(self.targets, device=numbers.device)[numbers]

    def rewards(
        self, accuracy: Tensor, cost: Tensor, target: float | Tensor, excess: Tensor | float
    ) -> Tensor:
        """Rewards of networks under one target, or each under its own; constraints included."""
        reward = self.reward(accuracy, cost, target)
        if not self.constraints:
            return reward
        return self.reward.constrained(reward, torch.as_tensor(excess).to(reward))
