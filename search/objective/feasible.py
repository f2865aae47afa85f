"""What a space can reach under constraints: its fastest network, and its nearest to a target."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.objective.block_costs import block_steps
from search.objective.block_options import Options, block_options, undominated
from search.objective.constraints import Limit, excess
from supernet.cost.model import CostModel
from supernet.errors import UserError
from supernet.space.arch import Arch, BlockChoice
from supernet.space.mnasnet import MnasSpace

CELLS = 3000
"""Into so many cells the shares of all limits together are divided; of each, two labels stay."""
BUCKETS = 2000
"""Parts of a target in which costs are counted."""


def fastest_within(
    space: MnasSpace, model: CostModel, limits: Sequence[Limit]
) -> tuple[Arch, float]:
    """The cheapest architecture found that keeps all limits, and its cost.

    Dynamic programming over the blocks with a label for each way to reach a width: its cost and its
    shares of the limits. Of the ways with about the same shares the cheapest one stays, and the one
    that uses least; ways that nothing can complete are dropped. So with one limit something is
    found wherever a network keeps it, and the cost is the least to the width of a cell.

    Args:
        space: where to search.
        model: prices its networks, as a sum.
        limits: to keep.

    Raises:
        UserError: when no network keeps one of them, which is exact, or none that keeps all was
            found.
    """
    steps = block_options(space, model, limits)
    rest = _least_rest(space, steps, limits)
    labels = {space.stem_filters: _Labels.start(len(limits))}
    for options, least in zip(steps, rest, strict=True):
        reached: dict[int, list[_Labels]] = {}
        for one in options:
            if one.inputs in labels and len(one.costs) and one.outputs in least:
                found = labels[one.inputs].extended(undominated(one), least[one.outputs])
                reached.setdefault(one.outputs, []).append(found)
        labels = {width: _Labels.thinned(found) for width, found in reached.items()}
    final = labels.get(0)
    if final is None or not len(final.costs):
        raise UserError(_infeasible(limits))
    choices = final.trace(int(final.costs.argmin()))
    arch = space.canonical(Arch(tuple(choices)))
    return arch, model.predict(space.spec(arch))


def _least_rest(
    space: MnasSpace, steps: list[list[Options]], limits: Sequence[Limit]
) -> list[dict[int, NDArray[np.float64]]]:
    """After each block and for each width: the least shares (limits,) that the rest may use.

    Each limit is taken by itself; widths from which no end is reached are left out.

    Raises:
        UserError: when no network keeps one of the limits.
    """
    rest: dict[int, NDArray[np.float64]] = {0: np.zeros(len(limits))}
    found = [rest]
    for options in reversed(steps):
        before: dict[int, NDArray[np.float64]] = {}
        for one in options:
            if one.outputs in rest and len(one.costs):
                least = one.shares.min(0) + rest[one.outputs]
                before[one.inputs] = np.minimum(before.get(one.inputs, np.inf), least)
        rest = before
        found.append(rest)
    least = rest.get(space.stem_filters)
    if least is None:
        raise UserError(_infeasible([one for one in limits if one.is_peak]))
    broken = [one for one, share in zip(limits, least.tolist(), strict=True) if share > 1 + SLACK]
    if broken:
        raise UserError(_infeasible(broken))
    return found[-2::-1]


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
    steps = block_options(space, model, limits)
    found = []
    count = len(limits)
    for weights in [np.full(count, 1.0), *(8.0 * np.eye(count) + 1.0 if count > 1 else [])]:
        arch = _dearest(space, steps, target, weights, limits)
        if arch:
            found.append((model.predict(space.spec(arch)), arch))
    cost, arch = max(found, key=lambda one: one[0], default=(0.0, None))
    return (arch, cost) if arch else None


@dataclass(frozen=True)
class _Labels:
    """Ways to reach a width."""

    costs: NDArray[np.float64]
    shares: NDArray[np.float64]
    """(labels, limits)"""
    choices: list[BlockChoice | None]
    """The last step of each."""
    before: list[tuple[_Labels, int]]
    """The label that each continues; None at the start."""

    @staticmethod
    def start(limits: int) -> _Labels:
        """One way to stand in front of the first block."""
        return _Labels(np.zeros(1), np.zeros((1, limits)), [None], [])

    def extended(self, options: Options, rest: NDArray[np.float64]) -> _Labels:
        """All ways on that something can complete, for which at least ``rest`` is still needed."""
        rows, columns = len(self.costs), len(options.costs)
        costs = np.add.outer(self.costs, options.costs).ravel()
        shares = self.shares[:, None] + options.shares[None]
        shares = shares.reshape(rows * columns, options.shares.shape[1])
        within = np.flatnonzero(np.all(shares + rest <= 1 + SLACK, axis=1))
        within = within[_places_to_keep(costs[within], shares[within])]
        return _Labels(
            costs[within],
            shares[within],
            [options.choices[at % columns] for at in within.tolist()],
            [(self, at // columns) for at in within.tolist()],
        )

    @staticmethod
    def thinned(found: Sequence[_Labels]) -> _Labels:
        """The ways of all, two for each cell."""
        costs = np.concatenate([one.costs for one in found])
        shares = np.concatenate([one.shares for one in found])
        choices = [choice for one in found for choice in one.choices]
        before = [label for one in found for label in one.before]
        keep = _places_to_keep(costs, shares).tolist()
        return _Labels(
            costs[keep], shares[keep], [choices[at] for at in keep], [before[at] for at in keep]
        )

    def trace(self, at: int) -> list[BlockChoice]:
        """The choices of a way, from the first block on."""
        choices: list[BlockChoice] = []
        labels = self
        while labels.before:
            choice = labels.choices[at]
            if choice is not None:
                choices.append(choice)
            labels, at = labels.before[at]
        return choices[::-1]


SLACK = 1e-9
"""Of a share, for the rounding of sums."""


def _places_to_keep(costs: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.intp]:
    """Of the labels of each cell of shares the cheapest, and the one of the least sum of shares."""
    used = shares[:, shares.any(0)]
    if not len(costs) or not used.shape[1]:
        return np.array([costs.argmin()] if len(costs) else [], np.intp)
    side = max(2, int(CELLS ** (1 / used.shape[1])))
    cell = np.minimum(used * side, side - 1).astype(np.int64) @ side ** np.arange(used.shape[1])
    keep = []
    for worth in (costs, used.sum(1)):
        order = np.lexsort((worth, cell))
        first = np.r_[True, np.diff(cell[order]) != 0]
        keep.append(order[first])
    return np.unique(np.concatenate(keep))


def _dearest(
    space: MnasSpace,
    steps: list[list[Options]],
    target: float,
    weights: NDArray[np.float64],
    limits: Sequence[Limit],
) -> Arch | None:
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
    space: MnasSpace,
    reached: NDArray[np.float64] | None,
    history: Sequence[Mapping[int, NDArray[np.int64]]],
    moves: Sequence[_Move],
    limits: Sequence[Limit],
) -> Arch | None:
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
    return f"no network of the space was found that keeps {listed}: raise a limit"


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
