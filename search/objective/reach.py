"""The sums that the costs of a space's blocks can reach: its network nearest to a target."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from search.objective.block_costs import block_steps, stem_and_head_costs
from search.objective.feasible import fastest
from supernet.cost.model import CostModel
from supernet.space.arch import Arch, BlockChoice
from supernet.space.mnasnet import MnasSpace

BUCKETS = 100_000
"""Parts of the target in which costs are counted."""
_WITHIN = (2 << BUCKETS) - 1
"""The bits of all sums up to the target."""


class _Step(NamedTuple):
    """From one width to the next, for a whole number of buckets."""

    inputs: int
    outputs: int
    buckets: int
    choice: BlockChoice | None
    """None where the step is stem and head."""


def dearest_within(space: MnasSpace, table: CostModel, target: float) -> tuple[Arch, float]:
    """The dearest architecture that costs at most ``target``, and its cost.

    A subset sum: each block adds the costs of its stages to the sums that the blocks before it can
    reach, which are the bits of one number for each width. Costs are rounded up to 1e-5 of the
    target, so that what is found never lies above it, and is the dearest to 1e-4 of it.

    Args:
        space: where to search.
        table: prices its networks.
        target: at least the cost of the cheapest one.
    """
    steps = _all_steps(space, table, target)
    reached = _reach(steps, space.stem_filters)
    total = (reached[-1].get(0, 0) & _WITHIN).bit_length() - 1
    if total < 0:  # rounded up, even the cheapest one lies above
        return fastest(space, table)
    arch = space.canonical(Arch(_trace(steps, reached, total)))
    return arch, table.predict(space.spec(arch))


def _all_steps(space: MnasSpace, table: CostModel, target: float) -> list[list[_Step]]:
    """The steps of each block, and last those of stem and head, which end at width 0."""

    def buckets(cost: float) -> int:
        return math.ceil(cost / target * BUCKETS)

    blocks = [
        [
            _Step(inputs, step.outputs, buckets(step.cost), step.choice)
            for inputs, steps in block.items()
            for step in steps
        ]
        for block in block_steps(space, table)
    ]
    ends = stem_and_head_costs(space, table).items()
    return [*blocks, [_Step(width, 0, buckets(cost), None) for width, cost in ends]]


def _reach(steps: Sequence[Sequence[_Step]], start: int) -> list[Mapping[int, int]]:
    """Before each block and at the end: for each width the sums as bits, up to the target."""
    reached: list[Mapping[int, int]] = [{start: 1}]
    for block in steps:
        sums: dict[int, int] = defaultdict(int)
        for step in block:
            sums[step.outputs] |= reached[-1][step.inputs] << step.buckets & _WITHIN
        reached.append(sums)
    return reached


def _trace(
    steps: Sequence[Sequence[_Step]], reached: Sequence[Mapping[int, int]], total: int
) -> tuple[BlockChoice, ...]:
    """The choices whose buckets add up to ``total``, found from the end."""
    width, choices = 0, []
    for block, before in zip(reversed(steps), reversed(reached[:-1]), strict=True):
        step = next(
            step
            for step in block
            if step.outputs == width
            and step.buckets <= total
            and before[step.inputs] >> (total - step.buckets) & 1
        )
        width, total = step.inputs, total - step.buckets
        if step.choice:
            choices.append(step.choice)
    return tuple(reversed(choices))
