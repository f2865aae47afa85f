"""Objective: what a search is after, in numbers of its space and its device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from search.objective.constraints import Constraint, Limit
from search.objective.costs import BlockCosts, cost_model
from search.objective.reward import Reward
from search.objective.targets import Requested, Target, resolve_target, resolve_targets
from supernet.cost.model import CLOSED_FORMS, CostModel
from supernet.errors import UserError
from supernet.space.mnasnet import MnasSpace


@dataclass(frozen=True)
class Objective:
    """Costs, reward, targets and constraints, known when the device has been measured."""

    costs: BlockCosts
    """Prices networks in the unit of the targets."""
    reward: Reward
    targets: tuple[Target, ...]
    constraints: tuple[Limit, ...] = ()
    """Further limits, on other costs."""

    @staticmethod
    def resolve(
        space: MnasSpace,
        reward: Reward,
        target: Requested,
        cost: str,
        table: str | None,
        table_cache: str | Path,
        constraints: Sequence[Constraint] = (),
    ) -> Objective:
        """Objective of what was asked for, see ``SearchModule``; the device is measured for it.

        Raises:
            UserError: for a table that does not fit, and for a target or limit that no network
                meets.
        """
        costs = BlockCosts(space, cost_model(cost, space, table, table_cache))
        limits = resolve_constraints(constraints, space, table_cache)
        return Objective(costs, reward, resolve_targets(target, costs, limits), limits)

    @property
    def space(self) -> MnasSpace:
        """Space to search in."""
        return self.costs.space

    @property
    def cost_model(self) -> CostModel:
        """Cost model that prices single networks."""
        return self.costs.model

    def limits(self, numbers: Tensor) -> Tensor:
        """(M,) targets in the cost's unit by their numbers (M,), on the same device."""
        costs = [target.cost for target in self.targets]
        return torch.tensor(costs, device=numbers.device)[numbers]

    def rewards(
        self, accuracy: Tensor, cost: Tensor, target: float | Tensor, violation: Tensor | float
    ) -> Tensor:
        """Rewards of networks under one target, or each under its own; constraints included."""
        reward = self.reward(accuracy, cost, target)
        if not self.constraints:
            return reward
        return self.reward.constrained(reward, torch.as_tensor(violation).to(reward))


def resolve_constraints(
    constraints: Sequence[Constraint], space: MnasSpace, cache_dir: str | Path
) -> tuple[Limit, ...]:
    """Constraints as numbers on this space.

    Args:
        constraints: as asked for.
        space: where to search.
        cache_dir: a folder for this machine's latency tables.

    Raises:
        UserError: for a limit that means nothing, and for a table that cannot be had or lacks parts
            of the space.
    """
    limits = []
    for one in constraints:
        closed = CLOSED_FORMS.get(one.cost)
        model = closed or cost_model(one.cost, space, one.table, cache_dir)
        try:
            value = resolve_target(one.limit, model, space)
        except UserError as error:
            raise UserError(f"constraint on {one.cost}: {error}") from None
        limits.append(Limit(BlockCosts(space, model), value))
    return tuple(limits)
