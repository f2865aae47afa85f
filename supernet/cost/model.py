"""CostModel: what prices a network; and the costs that follow from it in closed form. No torch."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from supernet.cost.counts import (
    count_layer,
    count_stem_and_head,
    layer_bytes,
    layer_memory,
    stem_and_head_bytes,
    stem_and_head_memory,
)
from supernet.errors import UserError
from supernet.space.spec import NetSpec
from supernet.space.stage import Layer

Combine = Callable[[Iterable[float]], float]
"""Price of a network from those of its layers, and of stem and head."""


class CostModel(Protocol):
    """Prices of a network, of its layers, and of stem and head together."""

    @property
    def unit(self) -> str:
        """Unit of every price: ms, macs, params, memory or size (both in bytes)."""

    @property
    def hash(self) -> str:
        """SHA-256 of the measurements behind it; empty without any."""

    @property
    def device(self) -> str:
        """Device that was measured; empty without any measurement."""

    @property
    def combine(self) -> Combine:
        """``sum``; or ``max`` where a network takes what the hungriest of its layers does."""

    def predict(self, spec: NetSpec) -> float:
        """Price of a network."""

    def layer_cost(self, layer: Layer, activation: str) -> float:
        """Price of one layer of a stage."""

    def stem_and_head_cost(self, spec: NetSpec) -> float:
        """Price of stem and head."""


@dataclass(frozen=True)
class ClosedForm:
    """A cost that follows from the network and is the same on every device.

    Examples:
        >>> from supernet.space.published import published_spec
        >>> CLOSED_FORMS["params"].predict(published_spec("mnasnet_b1"))
        4383312.0
        >>> CLOSED_FORMS["memory"].predict(published_spec("mnasnet_b1"))
        3211264.0
    """

    unit: str
    layer: Callable[[Layer], int]
    stem_and_head: Callable[[NetSpec], int]
    combine: Combine = sum
    hash = ""
    device = ""

    def predict(self, spec: NetSpec) -> float:
        """Price of a network."""
        return float(self.combine([self.stem_and_head(spec), *map(self.layer, spec.layers())]))

    def layer_cost(self, layer: Layer, activation: str) -> float:
        """Price of one layer of a stage; no activation changes it."""
        return float(self.layer(layer))

    def stem_and_head_cost(self, spec: NetSpec) -> float:
        """Price of stem and head."""
        return float(self.stem_and_head(spec))


CLOSED_FORMS = {
    "macs": ClosedForm(
        "macs", lambda layer: count_layer(layer).macs, lambda spec: count_stem_and_head(spec).macs
    ),
    "params": ClosedForm(
        "params",
        lambda layer: count_layer(layer).params,
        lambda spec: count_stem_and_head(spec).params,
    ),
    "memory": ClosedForm("memory", layer_memory, stem_and_head_memory, max),
    "size": ClosedForm("size", layer_bytes, stem_and_head_bytes),
}
"""Multiply-accumulates and parameters; bytes of feature maps that live at once, at most, for one
image; bytes of the ONNX file that ``mnasnet export`` writes (of five trained networks of
1.3 to 1.6 MB it was wrong by 0.0 to 0.6 %)."""
TARGET_UNITS = ("ms", "macs", "params")
"""Units that a search may have a target in."""
LIMIT_UNITS = ("ms", *CLOSED_FORMS)
"""Units that a search may have constraints in."""
MIN_MS, MAX_MS = 1e-6, 3.6e6
"""Shortest and longest time that is believed of a network or a layer, in ms: 1 ns and an hour."""


def check_ms(name: str, ms: float) -> None:
    """Refuse a time in ms that no run of a layer or a network takes.

    Raises:
        UserError: naming it and the limits.
    """
    if not MIN_MS <= ms <= MAX_MS:
        raise UserError(
            f"{name} is {ms:g} ms, which no run takes: it must be at least {MIN_MS:g} and at most"
            f" {MAX_MS:g} ms"
        )
