"""ExpectedCost: the mean cost of independently drawn architectures, exactly."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from supernet.arch import DECISIONS, Arch, BlockChoice
from supernet.parts import block_sizes
from supernet.space import MnasSpace
from supernet.stage import Stage
from supernet.target import CostModel


class ExpectedCost:
    """Expectation of an additive cost under independent decisions, differentiable.

    A block's cost depends on its own six decisions and, through its input width, on the filters of
    the block before. So the expectation over all architectures is the sum over blocks of a table
    weighed by seven probabilities; nothing is sampled and nothing is approximated.

    Args:
        space: Whose decisions are drawn.
        cost_model: Prices layers and ends.
    """

    def __init__(self, space: MnasSpace, cost_model: CostModel) -> None:
        self.space, self.cost_model = space, cost_model
        layer_cost = functools.cache(lambda layer: cost_model.layer_cost(layer, "relu"))

        @functools.cache
        def stage_cost(stage: Stage, inputs: int, size: int) -> float:
            return sum(layer_cost(layer) for layer in stage.layers(inputs, size))

        sizes = block_sizes(space)
        self.tables = []
        for block in range(space.num_blocks):
            stages = [space.stage(block, choice) for choice in space.block_choices(block)]
            rows = [
                [stage_cost(stage, inputs, sizes[block]) for stage in stages]
                for inputs in self._input_widths(block)
            ]
            self.tables.append(torch.tensor(rows))
        self.ends = torch.tensor([self._ends(last) for last in space.choices[-1]["filters"]])

    def _input_widths(self, block: int) -> list[int]:
        """Channels that enter a block, for each value of the filters of the block before."""
        if not block:
            return [self.space.stem_filters]
        filters = self.space.choices[block - 1]["filters"]
        return [self.space.block_filters(block - 1, choice) for choice in filters]

    def _ends(self, filters: float) -> float:
        """Cost of stem and head behind a last block of these filters."""
        blocks = [next(self.space.block_choices(block)) for block in range(self.space.num_blocks)]
        last = BlockChoice(**{**vars(blocks[-1]), "filters": filters})
        return self.cost_model.ends_cost(self.space.spec(Arch((*blocks[:-1], last))))

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
