"""BlockTables: quantities of a network, tabulated by the choices of each block."""

from __future__ import annotations

import copy
import dataclasses
import functools
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
    of the block before. Blocks that share one choice have one table, of what they add together.
    Tabulating takes 0.1 s in the paper's space: do it once for each quantity.

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
        self._add = torch.maximum if is_peak else torch.add
        outputs = [
            [space.block_filters(last, filters) for filters in space.choices[last]["filters"]]
            for *_, last in space.groups
        ]
        self.widths = [[space.stem_filters], *outputs]
        """Channels that enter each group of blocks, by the filters of the one before, and the head.
        """
        self.tables = []
        """Values (widths, choices) or (widths, choices, F) of each group, in double precision."""
        for group, widths in zip(space.groups, self.widths, strict=False):
            self.tables.append(self._table(group, widths, of_stage))
        ends = [of_stem_and_head(space.spec(arch)) for arch in _one_for_each_end(space)]
        self.stem_and_head = torch.tensor(ends, dtype=torch.float64)
        """Values (widths,) or (widths, F), by the filters of the last block."""

    def _table(
        self, group: range, widths: list[int], of_stage: Callable[[Stage, int, int], Values]
    ) -> Tensor:
        """Values of each choice for a group of blocks behind each of ``widths``."""
        space, sizes = self.space, block_sizes(self.space)
        choices = list(space.block_choices(group[0]))
        entering, tables = [[width] * len(choices) for width in widths], []
        for block in group:
            stages = [space.stage(block, choice) for choice in choices]
            rows = [
                [of_stage(*pair, sizes[block]) for pair in zip(stages, widths, strict=True)]
                for widths in entering
            ]
            tables.append(torch.tensor(rows, dtype=torch.float64))
            entering = [[stage.filters for stage in stages]]
        return functools.reduce(self._add, tables)

    def weighted(self, weights: Tensor) -> BlockTables:
        """Sums of the F quantities, each times its weight (F,), as a single one that adds up."""
        single = copy.copy(self)
        single.tables = [table @ weights for table in self.tables]
        single.stem_and_head = self.stem_and_head @ weights
        return single

    def of(self, indices: Tensor) -> Tensor:
        """Values (M,) or (M, F), in double precision, of architectures (M, D) on the CPU."""
        choices = indices.unflatten(1, (-1, len(DECISIONS)))
        inputs = indices.new_zeros(len(indices))
        total = torch.zeros(len(indices), *self.stem_and_head.shape[1:], dtype=torch.float64)
        for number, (group, table) in enumerate(zip(self.space.groups, self.tables, strict=True)):
            choice = indices.new_zeros(len(indices))
            for decision, values in enumerate(self.space.choices[group[0]].values()):
                choice = choice * len(values) + choices[:, number, decision]
            total = self._add(total, table[inputs, choice])
            inputs = choices[:, number, DECISIONS.index("filters")]
        return self._add(total, self.stem_and_head[inputs])


def _one_for_each_end(space: MnasSpace) -> list[Arch]:
    """An architecture for each value of the last block's filters."""
    first = [next(space.block_choices(block)) for block in range(space.num_blocks)]
    return [
        Arch((*first[:-1], dataclasses.replace(first[-1], filters=filters)))
        for filters in space.choices[-1]["filters"]
    ]
