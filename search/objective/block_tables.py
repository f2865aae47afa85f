"""BlockTables: quantities of a network, tabulated by the choices of each block."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from supernet.cost.timed_layers import block_sizes
from supernet.space.arch import DECISIONS, Arch
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec
from supernet.space.stage import Stage

Values = float | list[float]


class BlockTables:
    """Quantities of networks that are sums over blocks, stem and head, or the largest of them.

    What a block adds depends on its own six decisions and, through its input width, on the filters
    of the block before. Tabulating takes 0.1 s in the paper's space: do it once for each quantity.

    Args:
        space: Whose architectures are described.
        of_stage: Value, or F of them, of a stage with an input width and an input size in pixels.
        of_stem_and_head: The same of a network's stem and head.
        is_peak: Whether a network has the largest of these instead of their sum.
    """

    def __init__(
        self,
        space: MnasSpace,
        of_stage: Callable[[Stage, int, int], Values],
        of_stem_and_head: Callable[[NetSpec], Values],
        is_peak: bool = False,
    ) -> None:
        self.space, self.is_peak = space, is_peak
        outputs = [
            [space.block_filters(block, filters) for filters in choices["filters"]]
            for block, choices in enumerate(space.choices)
        ]
        self.widths = [[space.stem_filters], *outputs]
        """Channels that enter each block, by the filters of the block before, and the head."""
        self.tables = []
        """Values (widths, choices) or (widths, choices, F) of each block, in double precision."""
        for block, size in enumerate(block_sizes(space)[:-1]):
            stages = [space.stage(block, choice) for choice in space.block_choices(block)]
            widths = self.widths[block]
            rows = [[of_stage(stage, width, size) for stage in stages] for width in widths]
            self.tables.append(torch.tensor(rows, dtype=torch.float64))
        ends = [of_stem_and_head(space.spec(arch)) for arch in _one_for_each_end(space)]
        self.stem_and_head = torch.tensor(ends, dtype=torch.float64)
        """Values (widths,) or (widths, F), by the filters of the last block."""

    def weighted(self, weights: Tensor) -> BlockTables:
        """Sums of the F quantities, each times its weight (F,), as a single one that adds up."""
        single = copy.copy(self)
        single.tables = [table @ weights for table in self.tables]
        single.stem_and_head = self.stem_and_head @ weights
        return single

    def of(self, indices: Tensor) -> Tensor:
        """Values (M,) or (M, F), in double precision, of architectures (M, D) on the CPU."""
        add = torch.maximum if self.is_peak else torch.add
        blocks = indices.unflatten(1, (-1, len(DECISIONS)))
        inputs = indices.new_zeros(len(indices))
        total = torch.zeros(len(indices), *self.stem_and_head.shape[1:], dtype=torch.float64)
        for number, table in enumerate(self.tables):
            choice = indices.new_zeros(len(indices))
            for decision, values in enumerate(self.space.choices[number].values()):
                choice = choice * len(values) + blocks[:, number, decision]
            total = add(total, table[inputs, choice])
            inputs = blocks[:, number, DECISIONS.index("filters")]
        return add(total, self.stem_and_head[inputs])


def _one_for_each_end(space: MnasSpace) -> list[Arch]:
    """An architecture for each value of the last block's filters."""
    first = [next(space.block_choices(block)) for block in range(space.num_blocks)]
    return [
        Arch((*first[:-1], dataclasses.replace(first[-1], filters=filters)))
        for filters in space.choices[-1]["filters"]
    ]
