"""What a space can reach under constraints: its fastest network, and its nearest to a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from supernet.arch import Arch, BlockChoice
from supernet.constraint import Limit, excess
from supernet.errors import UserError
from supernet.space import MnasSpace
from supernet.target import CostModel, block_steps, ends_costs

GRAIN = 1000
"""Parts of a limit to which shares are rounded up, so that labels that differ less are one."""
BUCKETS = 2000
"""Parts of a target in which costs are counted."""


class _Options(NamedTuple):
    """The stages that lead from one width to another, and what they use."""

    inputs: int
    outputs: int
    costs: NDArray[np.float64]
    """(options,)"""
    shares: NDArray[np.float64]
    """(options, limits): of each limit; 0 for a peak, which is checked beforehand."""
    choices: list[BlockChoice | None]
    """None for stem and head."""


def fastest_within(
    space: MnasSpace, model: CostModel, limits: Sequence[Limit]
) -> tuple[Arch, float]:
    """The cheapest architecture that keeps all limits, and its cost.

    Dynamic programming over the blocks with a label for each way to reach a width: its cost and its
    shares of the limits, rounded up to a thousandth. Labels that another one beats in all are
    dropped.

    Args:
        space: where to search.
        model: prices its networks, as a sum.
        limits: to keep.

    Raises:
        UserError: when no network keeps them, by dynamic programming; naming them.
    """
    labels = {space.stem_filters: _start(len(limits))}
    steps = _steps(space, model, limits)
    for options in steps:
        reached: dict[int, list[_Labels]] = {}
        for one in options:
            if one.inputs in labels and len(one.costs):
                found = _extend(labels[one.inputs], _undominated(one))
                reached.setdefault(one.outputs, []).append(found)
        labels = {width: _best(_joined(found)) for width, found in reached.items()}
    final = labels.get(0)
    if final is None or not len(final.costs):
        raise UserError(_infeasible(limits))
    arch = space.canonical(Arch(tuple(c for c in final.paths[0] if c is not None)))
    return arch, model.predict(space.spec(arch))


def dearest_feasible(
    space: MnasSpace, model: CostModel, target: float, limits: Sequence[Limit]
) -> tuple[Arch, float] | None:
    """The dearest architecture found that costs at most ``target`` and keeps all limits.

    For each sum of costs, rounded up to 1/2000 of the target, the way that uses the least of the
    limits is kept: with one limit none is dearer but those in the last 0.4 % below the target; with
    several it is what the best of a few weights of the limits finds.

    Returns:
        It and its cost; None where none is found.
    """
    steps = _steps(space, model, limits)
    found = []
    count = len(limits)
    for weights in [np.full(count, 1.0), *(8.0 * np.eye(count) + 1.0 if count > 1 else [])]:
        arch = _dearest(space, steps, target, weights, limits)
        if arch:
            found.append((model.predict(space.spec(arch)), arch))
    cost, arch = max(found, key=lambda one: one[0], default=(0.0, None))
    return (arch, cost) if arch else None


def _steps(space: MnasSpace, model: CostModel, limits: Sequence[Limit]) -> list[list[_Options]]:
    """The options of each block, and last those of stem and head, which end at width 0."""
    priced = block_steps(space, model)
    others = [block_steps(space, limit.model) for limit in limits]
    found = []
    for number, block in enumerate(priced):
        found.append([
            option
            for inputs, steps in block.items()
            for option in _block_options(
                inputs, steps, [other[number][inputs] for other in others], limits
            )
        ])  # fmt: skip
    ends = ends_costs(space, model)
    uses = [ends_costs(space, limit.model) for limit in limits]
    last = []
    for width, cost in ends.items():
        shares = np.array([[use[width] / one.value for use, one in zip(uses, limits, strict=True)]])
        last.append(_kept(_Options(width, 0, np.array([cost]), shares, [None]), limits))
    return [*found, last]


def _block_options(inputs: int, steps: list, others: list, limits: Sequence[Limit]) -> list:
    """The options of one block behind one width, a group for each width that it hands on."""
    groups: dict[int, list[int]] = {}
    for place, step in enumerate(steps):
        groups.setdefault(step.outputs, []).append(place)
    return [
        _kept(
            _Options(
                inputs, outputs, np.array([steps[p].cost for p in places]),
                np.array([
                    [use[p].cost / one.value for use, one in zip(others, limits, strict=True)]
                    for p in places
                ]).reshape(len(places), len(limits)),
                [steps[p].choice for p in places],
            ),
            limits,
        )
        for outputs, places in groups.items()
    ]  # fmt: skip


def _kept(options: _Options, limits: Sequence[Limit]) -> _Options:
    """The options of which no part alone breaks a limit on a peak."""
    peaks = np.array([limit.is_peak for limit in limits], bool)
    good = np.all(options.shares[:, peaks] <= 1, axis=1)
    shares = np.where(peaks, 0.0, options.shares)[good]
    choices = [one for one, keep in zip(options.choices, good.tolist(), strict=True) if keep]
    return _Options(options.inputs, options.outputs, options.costs[good], shares, choices)


class _Labels(NamedTuple):
    """Ways to reach a width."""

    costs: NDArray[np.float64]
    shares: NDArray[np.float64]
    """(labels, limits), in whole grains."""
    paths: list[tuple[BlockChoice | None, ...]]


def _start(limits: int) -> _Labels:
    return _Labels(np.zeros(1), np.zeros((1, limits)), [()])


def _undominated(options: _Options) -> _Options:
    """The options that no other one beats in cost and in all shares."""
    costs, shares = options.costs, options.shares
    beaten = np.zeros(len(costs), bool)
    for number in range(len(costs)):
        better = (costs <= costs[number]) & (shares <= shares[number]).all(1)
        better &= (costs < costs[number]) | (shares < shares[number]).any(1)
        beaten[number] = better.any()
    keep = np.flatnonzero(~beaten)
    choices = [options.choices[place] for place in keep]
    return _Options(options.inputs, options.outputs, costs[keep], shares[keep], choices)


def _extend(labels: _Labels, options: _Options) -> _Labels:
    """All ways on."""
    rows, columns = len(labels.costs), len(options.costs)
    costs = np.add.outer(labels.costs, options.costs).ravel()
    grains = np.ceil(options.shares * GRAIN - 1e-9)
    shares = (labels.shares[:, None] + grains[None]).reshape(rows * columns, grains.shape[1])
    within = np.flatnonzero((shares <= GRAIN).all(1))
    paths = [(*labels.paths[at // columns], options.choices[at % columns]) for at in within]
    return _Labels(costs[within], shares[within], paths)


def _joined(found: list[_Labels]) -> _Labels:
    return _Labels(
        np.concatenate([one.costs for one in found]),
        np.concatenate([one.shares for one in found]),
        [path for one in found for path in one.paths],
    )


def _best(labels: _Labels) -> _Labels:
    """The labels that no cheaper one beats in all shares, cheapest first."""
    kept: list[int] = []
    for place in np.argsort(labels.costs, kind="stable"):
        if not kept or not (labels.shares[kept] <= labels.shares[place]).all(1).any():
            kept.append(int(place))
    return _Labels(labels.costs[kept], labels.shares[kept], [labels.paths[at] for at in kept])


def _dearest(
    space: MnasSpace, steps: list[list[_Options]], target: float, weights: NDArray[np.float64],
    limits: Sequence[Limit],
) -> Arch | None:  # fmt: skip
    """The dearest feasible way when of equal costs the one of least weighted shares is kept."""
    used = {space.stem_filters: np.full(BUCKETS + 1, np.inf)}
    used[space.stem_filters][0] = 0.0
    history: list[dict[int, NDArray[np.int64]]] = []
    moves: list[_Move] = []
    for options in steps:
        reached: dict[int, NDArray[np.float64]] = {}
        origin: dict[int, NDArray[np.int64]] = {}
        for one in options:
            before = used.get(one.inputs)
            if before is None:
                continue
            after = reached.setdefault(one.outputs, np.full(BUCKETS + 1, np.inf))
            source = origin.setdefault(one.outputs, np.zeros(BUCKETS + 1, np.int64))
            for cost, share, choice in zip(one.costs, one.shares, one.choices, strict=True):
                shift = int(np.ceil(cost / target * BUCKETS - 1e-9))
                if shift > BUCKETS:
                    continue
                ways = before[: BUCKETS + 1 - shift] + share @ weights
                better = ways < after[shift:]
                after[shift:][better] = ways[better]
                source[shift:][better] = len(moves)
                moves.append(_Move(one.inputs, shift, choice))
        used = reached
        history.append(origin)
    return _trace(space, used.get(0), history, moves, limits)


class _Move(NamedTuple):
    """A step back to the block before."""

    inputs: int
    shift: int
    choice: BlockChoice | None


def _trace(
    space: MnasSpace, reached: NDArray[np.float64] | None,
    history: Sequence[Mapping[int, NDArray[np.int64]]], moves: Sequence[_Move],
    limits: Sequence[Limit],
) -> Arch | None:  # fmt: skip
    """The dearest of the ways that keeps the limits, found from the end."""
    if reached is None:
        return None
    for total in np.flatnonzero(np.isfinite(reached))[::-1]:
        width, left, choices = 0, int(total), []
        for origin in reversed(history):
            move = moves[origin[width][left]]
            width, left = move.inputs, left - move.shift
            if move.choice is not None:
                choices.append(move.choice)
        arch = space.canonical(Arch(tuple(reversed(choices))))
        if not excess(limits, space.spec(arch)):
            return arch
    return None


def _infeasible(limits: Sequence[Limit]) -> str:
    listed = ", ".join(f"{one.name} at most {one.value:.4g}" for one in limits)
    return f"no network of the space keeps the constraints ({listed}): raise a limit"
