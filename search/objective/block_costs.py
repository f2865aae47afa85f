"""The cost of architectures as tables of their blocks: of many at once, and in expectation."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from search.objective.constraints import Limit
from supernet.cost.counts import PeakMemory
from supernet.cost.model import CostModel
from supernet.cost.timed_layers import block_sizes, block_stages
from supernet.space.arch import DECISIONS, Arch, BlockChoice
from supernet.space.mnasnet import MnasSpace
from supernet.space.stage import Stage


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


def stem_and_head_costs(space: MnasSpace, table: CostModel) -> dict[int, float]:
    """Price of stem and head together, by the channels that the last block hands on."""
    first = [next(space.block_choices(block)) for block in range(space.num_blocks)]
    last = space.num_blocks - 1
    archs = {
        space.block_filters(last, filters): Arch(
            (*first[:-1], dataclasses.replace(first[-1], filters=filters))
        )
        for filters in space.choices[-1]["filters"]
    }
    return {width: table.stem_and_head_cost(space.spec(arch)) for width, arch in archs.items()}


class BlockCosts:
    """A cost, tabulated by the choices of each block: the sum over blocks, or the largest of them.

    A block's cost depends on its own six decisions and, through its input width, on the filters of
    the block before.

    Args:
        space: Whose architectures are priced.
        cost_model: Prices layers and ends.
    """

    def __init__(self, space: MnasSpace, cost_model: CostModel) -> None:
        self.space = space
        self.add = torch.maximum if isinstance(cost_model, PeakMemory) else torch.add

        @functools.cache
        def cost(stage: Stage, inputs: int, size: int) -> float:
            return stage_cost(cost_model, stage, inputs, size)

        sizes = block_sizes(space)
        self.tables = []
        for block in range(space.num_blocks):
            stages = [space.stage(block, choice) for choice in space.block_choices(block)]
            rows = [
                [cost(stage, inputs, sizes[block]) for stage in stages]
                for inputs in self._input_widths(block)
            ]
            self.tables.append(torch.tensor(rows, dtype=torch.float64))
        ends = stem_and_head_costs(space, cost_model)
        widths = self._output_widths(space.num_blocks - 1)
        self.ends = torch.tensor([ends[width] for width in widths], dtype=torch.float64)

    def _input_widths(self, block: int) -> list[int]:
        """Channels that enter a block, for each value of the filters of the block before."""
        return self._output_widths(block - 1) if block else [self.space.stem_filters]

    def _output_widths(self, block: int) -> list[int]:
        filters = self.space.choices[block]["filters"]
        return [self.space.block_filters(block, choice) for choice in filters]

    def of(self, indices: Tensor) -> Tensor:
        """Costs (M,), in double precision, of architectures (M, D) on the CPU."""
        blocks = indices.unflatten(1, (-1, len(DECISIONS)))
        inputs = indices.new_zeros(len(indices))
        total = torch.zeros(len(indices), dtype=torch.float64)
        for number, table in enumerate(self.tables):
            choice = indices.new_zeros(len(indices))
            for decision, values in enumerate(self.space.choices[number].values()):
                choice = choice * len(values) + blocks[:, number, decision]
            total = self.add(total, table[inputs, choice])
            inputs = blocks[:, number, DECISIONS.index("filters")]
        return self.add(total, self.ends[inputs])


class BlockExcess:
    """By how much architectures break constraints, tabulated by the choices of each block.

    Args:
        space: Whose architectures are priced.
        limits: That they should keep.
    """

    def __init__(self, space: MnasSpace, limits: Sequence[Limit]) -> None:
        self.uses = [(BlockCosts(space, limit.model), limit.value) for limit in limits]

    def of(self, indices: Tensor) -> Tensor:
        """Excess (M,), as ``search.objective.constraints.excess`` says, of architectures (M, D)."""
        total = torch.zeros(len(indices), dtype=torch.float64)
        for costs, limit in self.uses:
            total += (costs.of(indices) / limit - 1).clamp(min=0)
        return total


class ExpectedCost(BlockCosts):
    """Expectation of an additive cost under independent decisions, differentiable.

    The expectation over all architectures is the sum over blocks of a table weighed by seven
    probabilities; nothing is sampled and nothing is approximated.
    """

    def __call__(self, probabilities: Tensor) -> Tensor:
        """The expectation, a scalar in the cost's unit.

        Args:
            probabilities: (D, V) of each value of each decision; 0 for values that do not exist.
        """
        rows = self._split(probabilities)
        inputs, total = probabilities.new_ones(1), probabilities.new_zeros(())
        for number, table in enumerate(self.tables):
            block = rows[number * len(DECISIONS) : (number + 1) * len(DECISIONS)]
            joint = functools.reduce(lambda left, right: torch.outer(left, right).flatten(), block)
            total = total + inputs @ table.to(probabilities) @ joint
            inputs = block[DECISIONS.index("filters")]
        return total + inputs @ self.ends.to(probabilities)

    def _split(self, probabilities: Tensor) -> Sequence[Tensor]:
        sizes = self.space.decision_sizes
        return [row[:size] for row, size in zip(probabilities, sizes, strict=True)]
