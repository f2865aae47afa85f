"""Targets of a search, the costs they are measured in, and what a space can reach. No torch."""

from __future__ import annotations

import dataclasses
import math
import operator
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from supernet.arch import Arch, BlockChoice
from supernet.cost import count, count_layer
from supernet.errors import UserError
from supernet.footprint import PeakMemory
from supernet.parts import block_sizes, block_stages
from supernet.published import published, published_spec
from supernet.space import MnasSpace
from supernet.spec import NetSpec
from supernet.stage import Layer, Stage

NUM_SAMPLES = 2000
"""Networks from which a quantile of a space is estimated: one of 40 % to about +-1 %."""


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

    def ends_cost(self, spec: NetSpec) -> float:
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

    def ends_cost(self, spec: NetSpec) -> float:
        """Count of stem and head."""
        layers = sum(self.layer_cost(layer, spec.activation) for layer in spec.layers())
        return self.predict(spec) - layers


def cost_model(
    unit: str, space: MnasSpace, table: str | Path | None, cache_dir: str | Path
) -> CostModel:
    """What prices the networks of a space.

    Args:
        unit: ms, macs or params.
        space: where to search.
        table: a latency table to load, another machine's perhaps; without one this machine's is
            measured, or found in ``cache_dir``.
        cache_dir: a folder for measured tables.

    Raises:
        UserError: for another unit, for a table without ms, and when the table cannot be had.
    """
    if unit != "ms":
        if table:
            raise UserError(f"the latency table {table} prices ms, not {unit}: drop one of the two")
        return CostTable(unit)
    # ONNX and its runtime take a second to load and are needed for latency only.
    from supernet.latency.cache import table_for
    from supernet.latency.table import LatencyTable

    if table:
        loaded = LatencyTable.load(table)
        loaded.check_covers(space)
        return loaded
    return table_for(space, reference_specs(space), cache_dir)


def reference_spec(name: str, space: MnasSpace) -> NetSpec:
    """A published network at a space's resolution, classes and stem stride.

    Raises:
        UserError: for an unknown name.
    """
    return published_spec(name).scaled(
        resolution=space.resolution, classes=space.classes, stem_stride=space.stem_stride
    )


def reference_specs(space: MnasSpace) -> list[NetSpec]:
    """All published networks at a space's resolution, classes and stem stride."""
    return [reference_spec(name, space) for name in published]


def quantile(table: CostModel, space: MnasSpace, q: float, seed: int = 0) -> float:
    """The cost that a share ``q`` in [0, 1] of uniformly drawn architectures does not exceed."""
    rng = random.Random(seed)
    costs = sorted(table.predict(space.spec(space.sample(rng))) for _ in range(NUM_SAMPLES))
    return costs[min(NUM_SAMPLES - 1, int(q * NUM_SAMPLES))]


def resolve_target(text: str | float, table: CostModel, space: MnasSpace) -> float:
    """A target as a number in the table's unit.

    Args:
        text: a number; ``0.8x mnasnet_a1``, that published network at the space's resolution,
            classes and stem stride; or ``p40``, a percentile of the space.
        table: what prices networks.
        space: where to search.

    Raises:
        UserError: for anything else, or a number that is not positive.
    """
    text = str(text).strip()
    if relative := re.fullmatch(r"([0-9]*\.?[0-9]+)\s*x\s+(\S+)", text):
        spec = reference_spec(relative[2], space)
        return _positive(text, float(relative[1]) * table.predict(spec))
    if percentile := re.fullmatch(r"p([0-9]*\.?[0-9]+)", text):
        if float(percentile[1]) > 100:
            raise UserError(f"target {text!r}: a percentile lies between p0 and p100")
        return quantile(table, space, float(percentile[1]) / 100)
    try:
        return _positive(text, float(text))
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"target {text!r} is neither a number of {table.unit}, nor relative as in"
            " '0.8x mnasnet_a1', nor a percentile of the space as in 'p40'"
        ) from None


def _positive(text: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise UserError(f"target {text!r} must be a positive number")
    return value


def fastest(space: MnasSpace, table: CostModel) -> tuple[Arch, float]:
    """The cheapest architecture of a space and its cost, exactly."""
    return _extreme(space, table, operator.lt)


def slowest(space: MnasSpace, table: CostModel) -> tuple[Arch, float]:
    """The dearest architecture of a space and its cost, exactly."""
    return _extreme(space, table, operator.gt)


def _extreme(
    space: MnasSpace, table: CostModel, better: Callable[[float, float], bool]
) -> tuple[Arch, float]:
    """Dynamic programming over the blocks: all that a block knows of those before is a width."""
    best: dict[int, tuple[float, tuple[BlockChoice, ...]]] = {space.stem_filters: (0.0, ())}
    for steps in block_steps(space, table):
        longer: dict[int, tuple[float, tuple[BlockChoice, ...]]] = {}
        for inputs, (cost, blocks) in best.items():
            for step in steps[inputs]:
                total = cost + step.cost
                known = longer.get(step.outputs)
                if known is None or better(total, known[0]):
                    longer[step.outputs] = (total, (*blocks, step.choice))
        best = longer
    found: tuple[Arch, float] | None = None
    for _, blocks in best.values():
        arch = space.canonical(Arch(blocks))
        total = table.predict(space.spec(arch))
        if found is None or better(total, found[1]):
            found = (arch, total)
    assert found is not None
    return found


class BlockStep(NamedTuple):
    """One of the stages that a block may become behind a given input width."""

    outputs: int
    """Channels that it hands on."""
    cost: float
    choice: BlockChoice


def block_steps(space: MnasSpace, table: CostModel) -> list[dict[int, list[BlockStep]]]:
    """For each block of a space, by input width, all that it may become."""
    found, widths = [], {space.stem_filters}
    for stages, size in zip(block_stages(space), block_sizes(space), strict=False):
        found.append(
            {
                inputs: [
                    BlockStep(stage.filters, stage_cost(table, stage, inputs, size), choice)
                    for stage, choice in stages.items()
                ]
                for inputs in sorted(widths)
            }
        )
        widths = {stage.filters for stage in stages}
    return found


def stage_cost(table: CostModel, stage: Stage, inputs: int, size: int) -> float:
    """Price of the layers of a stage behind ``inputs`` channels of ``size`` pixels a side."""
    combine = max if isinstance(table, PeakMemory) else sum
    return combine(table.layer_cost(layer, "relu") for layer in stage.layers(inputs, size))


def ends_costs(space: MnasSpace, table: CostModel) -> dict[int, float]:
    """Price of stem and head together, by the channels that the last block hands on."""
    first = [next(space.block_choices(block)) for block in range(space.num_blocks)]
    last = space.num_blocks - 1
    archs = {
        space.block_filters(last, filters): Arch(
            (*first[:-1], dataclasses.replace(first[-1], filters=filters))
        )
        for filters in space.choices[-1]["filters"]
    }
    return {width: table.ends_cost(space.spec(arch)) for width, arch in archs.items()}


def check_target(target: float, table: CostModel, space: MnasSpace) -> None:
    """Refuse a target that no network of a space can meet.

    Raises:
        UserError: naming the target and the cheapest network's cost.
    """
    _, least = fastest(space, table)
    if target < least:
        raise UserError(
            f"target {target:.4g} {table.unit} lies below the cheapest network of the space,"
            f" {least:.4g} {table.unit}: raise the target, or lower the resolution or the width"
        )
