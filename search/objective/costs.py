"""Costs: cost models of a space, and their prices by the choices of each block."""

import functools
import itertools
from pathlib import Path

import torch
from torch import Tensor

from search.objective.block_tables import BlockTables
from supernet.cost.model import CLOSED_FORMS, TARGET_UNITS, CostModel
from supernet.errors import UserError, check_choice
from supernet.run.distributed import built_by_rank_zero
from supernet.space.arch import DECISIONS
from supernet.space.mnasnet import MnasSpace, reference_specs
from supernet.space.spec import NetSpec
from supernet.space.stage import Stage

NUM_SAMPLES = 2000
"""Networks from which a quantile of a space is estimated: one of 40 % to about +-1 %."""


def cost_model(
    unit: str, space: MnasSpace, table: str | Path | None, cache_dir: str | Path
) -> CostModel:
    """Cost model that prices the networks of a space; of several processes rank 0's is for all.

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
        check_choice("cost", unit, TARGET_UNITS)
        return CLOSED_FORMS[unit]
    # ONNX and its runtime take a second to load and are needed for latency only.
    from supernet.latency.table.table import LatencyTable
    from supernet.latency.this_machine import table_for

    def build() -> LatencyTable:
        if not table:
            return table_for(space, reference_specs(space), cache_dir)
        loaded = LatencyTable.read(table)
        loaded.check_covers(space)
        return loaded

    # Machines differ by some per cent, and with them what a rank takes for the target.
    return built_by_rank_zero(build)


class BlockCosts(BlockTables):
    """A cost, tabulated by the choices of each block.

    Args:
        space: Whose architectures are priced.
        model: Prices layers, and stem and head.
    """

    def __init__(self, space: MnasSpace, model: CostModel) -> None:
        @functools.cache
        def cost(stage: Stage, inputs: int, size: int) -> float:
            layers = stage.layers(inputs, size)
            return model.combine([model.layer_cost(layer, "relu") for layer in layers])

        self.model = model
        super().__init__(space, cost, model.stem_and_head_cost, is_peak=model.combine is max)

    def expected(self, probabilities: Tensor) -> Tensor:
        """Expectation of an additive cost under independent decisions, a differentiable scalar.

        The expectation over all architectures is the sum over blocks of a table weighed by seven
        probabilities; nothing is sampled and nothing is approximated.

        Args:
            probabilities: (D, V) of each value of each decision; 0 for values that do not exist.
        """
        sizes = self.space.decision_sizes
        rows = [row[:size] for row, size in zip(probabilities, sizes, strict=True)]
        inputs, total = probabilities.new_ones(1), probabilities.new_zeros(())
        for number, table in enumerate(self.tables):
            block = rows[number * len(DECISIONS) : (number + 1) * len(DECISIONS)]
            joint = functools.reduce(lambda left, right: torch.outer(left, right).flatten(), block)
            total = total + inputs @ table.to(probabilities) @ joint
            inputs = block[DECISIONS.index("filters")]
        return total + inputs @ self.stem_and_head.to(probabilities)


def quantile(model: CostModel, space: MnasSpace, q: float, seed: int = 0) -> float:
    """The cost that a share ``q`` in [0, 1] of uniformly drawn architectures does not exceed."""
    costs = sorted(map(model.predict, _drawn(space, seed)))
    return costs[min(NUM_SAMPLES - 1, int(q * NUM_SAMPLES))]


@functools.lru_cache(maxsize=4)
def _drawn(space: MnasSpace, seed: int) -> tuple[NetSpec, ...]:
    """Networks of uniformly drawn architectures: a search may ask for several percentiles."""
    return tuple(map(space.spec, itertools.islice(space.samples(seed), NUM_SAMPLES)))
