"""Asked: what the user of a search asked for, before anything is known of the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from search.targets import Requested, Target, resolve_targets
from supernet.constraint import Constraint, Limit, resolve_constraints
from supernet.space import MnasSpace
from supernet.target import CostModel, cost_model


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
