"""Costs: cost models of a space, and their prices by the choices of each block."""

import dataclasses
import functools
import random
from pathlib import Path

import torch
from torch import Tensor

from supernet.cost.model import CLOSED_FORMS, TARGET_UNITS, CostModel
from supernet.cost.timed_layers import block_sizes
from supernet.errors import UserError, check_choice
from supernet.space.arch import DECISIONS, Arch
from supernet.space.mnasnet import MnasSpace, reference_specs
from supernet.space.stage import Stage

NUM_SAMPLES = 2000
"""Networks from which a quantile of a space is estimated: one of 40 % to about +-1 %."""


def cost_model(
    unit: str, space: MnasSpace, table: str | Path | None, cache_dir: str | Path
) -> CostModel:
    """Cost model that prices the networks of a space.

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

    if table:
        loaded = LatencyTable.read(table)
        loaded.check_covers(space)
        return loaded
    return table_for(space, reference_specs(space), cache_dir)


class BlockCosts:
    """A cost, tabulated by the choices of each block: the sum over blocks, or the largest of them.

    A block's cost depends on its own six decisions and, through its input width, on the filters of
    the block before. Tabulating takes 0.1 s in the paper's space: do it once for each model.

    Args:
        space: Whose architectures are priced.
        model: Prices layers, and stem and head.
    """

    def __init__(self, space: MnasSpace, model: CostModel) -> None:
        self.space, self.model = space, model
        self.is_peak = model.combine is max

        @functools.cache
        def cost(stage: Stage, inputs: int, size: int) -> float:
            layers = stage.layers(inputs, size)
            return model.combine([model.layer_cost(layer, "relu") for layer in layers])

        outputs = [
            [space.block_filters(block, filters) for filters in choices["filters"]]
            for block, choices in enumerate(space.choices)
        ]
        self.widths = [[space.stem_filters], *outputs]
        """Channels that enter each block, by the filters of the block before, and the head."""
        self.tables = []
        """Costs (widths, choices) of each block, in double precision."""
        for block, size in enumerate(block_sizes(space)[:-1]):
            stages = [space.stage(block, choice) for choice in space.block_choices(block)]
            rows = [[cost(stage, width, size) for stage in stages] for width in self.widths[block]]
            self.tables.append(torch.tensor(rows, dtype=torch.float64))
        self.stem_and_head = torch.tensor(
            [model.stem_and_head_cost(space.spec(arch)) for arch in _one_for_each_end(space)],
            dtype=torch.float64,
        )
        """Costs (widths,), by the filters of the last block."""

    def of(self, indices: Tensor) -> Tensor:
        """Costs (M,), in double precision, of architectures (M, D) on the CPU."""
        add = torch.maximum if self.is_peak else torch.add
        blocks = indices.unflatten(1, (-1, len(DECISIONS)))
        inputs = indices.new_zeros(len(indices))
        total = torch.zeros(len(indices), dtype=torch.float64)
        for number, table in enumerate(self.tables):
            choice = indices.new_zeros(len(indices))
            for decision, values in enumerate(self.space.choices[number].values()):
                choice = choice * len(values) + blocks[:, number, decision]
            total = add(total, table[inputs, choice])
            inputs = blocks[:, number, DECISIONS.index("filters")]
        return add(total, self.stem_and_head[inputs])

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


def _one_for_each_end(space: MnasSpace) -> list[Arch]:
    """An architecture for each value of the last block's filters."""
    first = [next(space.block_choices(block)) for block in range(space.num_blocks)]
    return [
        Arch((*first[:-1], dataclasses.replace(first[-1], filters=filters)))
        for filters in space.choices[-1]["filters"]
    ]


def quantile(model: CostModel, space: MnasSpace, q: float, seed: int = 0) -> float:
    """The cost that a share ``q`` in [0, 1] of uniformly drawn architectures does not exceed."""
    rng = random.Random(seed)
    costs = sorted(model.predict(space.spec(space.sample(rng))) for _ in range(NUM_SAMPLES))
    return costs[min(NUM_SAMPLES - 1, int(q * NUM_SAMPLES))]
