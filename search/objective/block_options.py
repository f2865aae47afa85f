"""Options: the stages that lead from one width of a space to another, and what they use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.objective.block_costs import block_steps, stem_and_head_costs
from search.objective.constraints import Limit
from supernet.cost.model import CostModel
from supernet.space.arch import BlockChoice
from supernet.space.mnasnet import MnasSpace


class Options(NamedTuple):
    """The stages that lead from one width to another, and what they use."""

    inputs: int
    outputs: int
    costs: NDArray[np.float64]
    """(options,)"""
    shares: NDArray[np.float64]
    """(options, limits): of each limit; 0 for a peak, which is checked beforehand."""
    choices: list[BlockChoice | None]
    """None for stem and head."""


def block_options(
    space: MnasSpace, model: CostModel, limits: Sequence[Limit]
) -> list[list[Options]]:
    """The options of each block, and last those of stem and head, which end at width 0."""
    priced = block_steps(space, model)
    others = [block_steps(space, limit.model) for limit in limits]
    found = []
    for number, block in enumerate(priced):
        found.append(
            [
                option
                for inputs, steps in block.items()
                for option in _of_width(
                    inputs, steps, [other[number][inputs] for other in others], limits
                )
            ]
        )
    ends = stem_and_head_costs(space, model)
    uses = [stem_and_head_costs(space, limit.model) for limit in limits]
    last = []
    for width, cost in ends.items():
        shares = np.array([[use[width] / one.value for use, one in zip(uses, limits, strict=True)]])
        last.append(_kept(Options(width, 0, np.array([cost]), shares, [None]), limits))
    return [*found, last]


def _of_width(inputs: int, steps: list, others: list, limits: Sequence[Limit]) -> list:
    """The options of one block behind one width, a group for each width that it hands on."""
    groups: dict[int, list[int]] = {}
    for place, step in enumerate(steps):
        groups.setdefault(step.outputs, []).append(place)
    return [
        _kept(
            Options(
                inputs,
                outputs,
                np.array([steps[p].cost for p in places]),
                np.array(
                    [
                        [use[p].cost / one.value for use, one in zip(others, limits, strict=True)]
                        for p in places
                    ]
                ).reshape(len(places), len(limits)),
                [steps[p].choice for p in places],
            ),
            limits,
        )
        for outputs, places in groups.items()
    ]


def _kept(options: Options, limits: Sequence[Limit]) -> Options:
    """The options of which no part alone breaks a limit on a peak."""
    peaks = np.array([limit.is_peak for limit in limits], bool)
    good = np.all(options.shares[:, peaks] <= 1, axis=1)
    shares = np.where(peaks, 0.0, options.shares)[good]
    choices = [one for one, keep in zip(options.choices, good.tolist(), strict=True) if keep]
    return Options(options.inputs, options.outputs, options.costs[good], shares, choices)


def undominated(options: Options) -> Options:
    """The options that no other one beats in cost and in all shares."""
    costs, shares = options.costs, options.shares
    beaten = np.zeros(len(costs), bool)
    for number in range(len(costs)):
        better = (costs <= costs[number]) & (shares <= shares[number]).all(1)
        better &= (costs < costs[number]) | (shares < shares[number]).any(1)
        beaten[number] = better.any()
    keep = np.flatnonzero(~beaten)
    choices = [options.choices[place] for place in keep]
    return Options(options.inputs, options.outputs, costs[keep], shares[keep], choices)
