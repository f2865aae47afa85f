"""CostModel: what prices a network; CostTable: counts as prices. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from supernet.cost.counts import count, count_layer
from supernet.errors import UserError
from supernet.space.spec import NetSpec
from supernet.space.stage import Layer


class CostModel(Protocol):
    """The price of a network, the sum of its layers' prices and those of its ends."""

    @property
    def unit(self) -> str:
        """Unit of every price: ms, macs or params."""

    @property
    def hash(self) -> str:
        """SHA-256 of the measurements behind it; empty without any."""

    @property
    def device(self) -> str:
        """What was measured; empty without any measurement."""

    def predict(self, spec: NetSpec) -> float:
        """Price of a network."""

    def layer_cost(self, layer: Layer, activation: str) -> float:
        """Price of one layer of a stage."""

    def stem_and_head_cost(self, spec: NetSpec) -> float:
        """Price of stem and head."""


@dataclass(frozen=True)
class CostTable:
    """Counts as prices: ``macs`` or ``params``, the same on every device.

    Raises:
        UserError: for another unit.
    """

    unit: str
    hash = ""
    device = ""

    def __post_init__(self) -> None:
        """Refuse a unit that nobody counts."""
        if self.unit not in ("macs", "params"):
            raise UserError(f"cost is {self.unit!r}, allowed are ms, macs and params")

    def predict(self, spec: NetSpec) -> float:
        """Count of a network."""
        return float(getattr(count(spec), self.unit))

    def layer_cost(self, layer: Layer, activation: str) -> float:
        """Count of one layer of a stage; no activation changes it."""
        return float(getattr(count_layer(layer), self.unit))

    def stem_and_head_cost(self, spec: NetSpec) -> float:
        """Count of stem and head."""
        layers = sum(self.layer_cost(layer, spec.activation) for layer in spec.layers())
        return self.predict(spec) - layers
