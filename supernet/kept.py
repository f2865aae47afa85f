"""Kept: a constraint that a found network keeps, and what it uses of it. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from supernet.cost import count
from supernet.errors import UserError
from supernet.footprint import exported_bytes, peak_memory
from supernet.spec import NetSpec

CLOSED = {
    "macs": lambda spec: count(spec).macs,
    "params": lambda spec: count(spec).params,
    "memory": peak_memory,
    "size": exported_bytes,
}
"""Costs that follow from the network."""


@dataclass(frozen=True)
class Kept:
    """A constraint of a search and what its choice uses of it."""

    cost: str
    """Ms, macs, params, memory or size."""
    limit: float
    """In the unit of the cost; bytes for memory and size."""
    predicted: float
    table: str = ""
    """Hash of the latency table that predicted, empty for another cost."""
    device: str = ""
    """Device of that table."""

    def check(self, spec: NetSpec) -> None:
        """Refuse what no search can have written of a network.

        Raises:
            UserError: naming the field, its value and what it must be.
        """
        if self.cost not in ("ms", *CLOSED):
            allowed = ", ".join(("ms", *CLOSED))
            raise UserError(f"constraints: cost is {self.cost!r}, allowed are {allowed}")
        for name in ("limit", "predicted"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise UserError(
                    f"constraints: {name} of {self.cost} is {value}, it must be a finite number"
                    " above 0"
                )
        if self.predicted > self.limit:
            raise UserError(
                f"constraints: {self.cost} is {self.predicted}, above its limit {self.limit}"
            )
        if self.cost in CLOSED and self.predicted != CLOSED[self.cost](spec):
            raise UserError(
                f"constraints: {self.cost} is {self.predicted}, but the network has"
                f" {CLOSED[self.cost](spec)}: the file was changed after the search wrote it,"
                " restore it or search again"
            )
