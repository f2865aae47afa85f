"""Constraints: limits of a network beside the target, each in a unit and on a device of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from search.objective.costs import cost_model, resolve_target
from supernet.cost.counts import ExportedSize, PeakMemory
from supernet.cost.model import CostModel
from supernet.errors import UserError, check_choice
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec

COSTS = ("ms", "macs", "params", "memory", "size")


@dataclass(frozen=True)
class Constraint:
    """A further limit that the choice of a search must keep.

    Attributes:
        cost: What is limited: ``ms`` of a device, ``macs``, ``params``, ``memory`` (largest bytes
            of feature maps at once, for one image in float32) or ``size`` (bytes of the exported
            ONNX file).
        limit: A number in that unit, or relative like a target: ``0.8x mnasnet_a1``, ``p40``.
        table: For ``ms``: the latency table of the device; this machine's own if None.
    """

    cost: Literal["ms", "macs", "params", "memory", "size"]
    limit: float | str
    table: str | None = None

    def __post_init__(self) -> None:
        """Refuse what limits nothing.

        Raises:
            UserError: naming the key, its value and what is allowed.
        """
        check_choice("constraints: cost", self.cost, COSTS)
        if self.table and self.cost != "ms":
            raise UserError(
                f"constraints: the latency table {self.table} prices ms, not {self.cost}: drop one"
            )


@dataclass(frozen=True)
class Limit:
    """A constraint as a number."""

    model: CostModel
    """Prices networks; the price of ``memory`` is the largest of its layers', else their sum."""
    value: float
    """The most that is allowed, in the model's unit."""

    @property
    def is_peak(self) -> bool:
        """Whether the price of a network is the largest of its parts'."""
        return isinstance(self.model, PeakMemory)

    @property
    def name(self) -> str:
        """What is limited, in words."""
        return f"{self.model.unit} on {self.model.device}" if self.model.device else self.model.unit

    @property
    def identity(self) -> list[str | float]:
        """What tells it apart from other limits."""
        return [self.name, self.model.hash, self.value]

    def excess(self, spec: NetSpec) -> float:
        """By what share of the limit a network lies above it; 0 where it does not."""
        return max(0.0, self.model.predict(spec) / self.value - 1)


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
    models: dict[str, CostModel] = {"memory": PeakMemory(), "size": ExportedSize()}
    limits = []
    for one in constraints:
        model = models.get(one.cost) or cost_model(one.cost, space, one.table, cache_dir)
        try:
            limits.append(Limit(model, resolve_target(one.limit, model, space)))
        except UserError as error:
            raise UserError(f"constraint on {one.cost}: {error}") from None
    return tuple(limits)


def excess(limits: Sequence[Limit], spec: NetSpec) -> float:
    """By how much a network misses all limits: the sum of their shares; 0 where it keeps them."""
    return math.fsum(limit.excess(spec) for limit in limits)
