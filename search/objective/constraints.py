"""Constraints: limits of a network beside the target, each in a unit and on a device of its own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from search.objective.costs import BlockCosts
from supernet.cost.model import LIMIT_UNITS
from supernet.errors import UserError, check_choice
from supernet.space.spec import NetSpec


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
        check_choice("constraints: cost", self.cost, LIMIT_UNITS)
        if self.table and self.cost != "ms":
            raise UserError(
                f"constraints: the latency table {self.table} prices ms, not {self.cost}: drop one"
            )


@dataclass(frozen=True)
class Limit:
    """A constraint as a number."""

    costs: BlockCosts
    """Prices networks."""
    value: float
    """The most that is allowed, in the unit of the costs."""

    @property
    def name(self) -> str:
        """Unit and device of what is limited, in words."""
        model = self.costs.model
        return f"{model.unit} on {model.device}" if model.device else model.unit

    @property
    def identity(self) -> list[str | float]:
        """Name, hash and value, which tell it apart from other limits."""
        return [self.name, self.costs.model.hash, self.value]


def violation(limits: Sequence[Limit], spec: NetSpec) -> float:
    """Sum of the shares by which a network lies above its limits; 0 where it keeps them."""
    uses = [one.costs.model.predict(spec) / one.value for one in limits]
    return math.fsum(max(0.0, use - 1) for use in uses)


def violations(limits: Sequence[Limit], indices: Tensor) -> Tensor:
    """Violation (M,) of architectures (M, D), which are on the CPU."""
    total = torch.zeros(len(indices), dtype=torch.float64)
    for one in limits:
        total += (one.costs.of(indices) / one.value - 1).clamp(min=0)
    return total
