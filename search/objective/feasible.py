"""Feasible networks of a space: the cheapest, the costliest, and the nearest below a target.

A network is a path from the stem's width through a width behind each block to the classifier, and
a stage is an edge of it. The best path whose sums keep a target and all limits is an integer
program, which HiGHS solves.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from search.objective.constraints import Limit, violation
from search.objective.costs import BlockCosts
from supernet.errors import UserError
from supernet.space.arch import Arch

Floats = NDArray[np.float64]

GAP = 5e-5
"""Share of a target by which the nearest network found may lie below the nearest there is."""
MOST_EDGES, CELLS = 2000, 12
"""Among more edges than these, the nearest is sought with one for each of 12 ranges of cost."""
ROOMS = (0.0, 1e-5, 1e-3)
"""Shares of target and limits to leave where a solution breaks them: HiGHS keeps rows to 1e-6, and
a latency table knows some networks better than by the sum of their layers."""
MOST_NODES = 20_000
"""Nodes of the search tree, at most; 2,700 was the most that any question took."""


def cheapest(costs: BlockCosts, limits: Sequence[Limit] = ()) -> tuple[Arch, float]:
    """The cheapest architecture of a space that keeps all limits, and its cost, exactly.

    Raises:
        UserError: when none keeps them.
    """
    found = _best(costs, limits)
    if found is None:
        broken = [one for one in limits if _best(costs, [one]) is None] or limits
        listed = ", ".join(f"{one.name} at most {one.value:.4g}" for one in broken)
        raise UserError(f"no network of the space was found that keeps {listed}: raise a limit")
    return found


def costliest(costs: BlockCosts) -> tuple[Arch, float]:
    """The costliest architecture of a space and its cost, exactly."""
    found = _best(costs, sign=-1.0)
    assert found
    return found


def nearest_below(
    costs: BlockCosts, target: float, limits: Sequence[Limit] = ()
) -> tuple[Arch, float]:
    """The costliest architecture that costs at most ``target`` and keeps all limits, and its cost.

    Where none is found it is the cheapest one that keeps them. In a space of many edges it is the
    nearest to about 1e-4 of the target, or of what the limits leave.

    Args:
        costs: of the space.
        target: at least the cost of the cheapest one.
        limits: to keep.

    Raises:
        UserError: when no network keeps the limits.
    """
    return _best(costs, limits, -1.0, target) or cheapest(costs, limits)


def _best(
    costs: BlockCosts, limits: Sequence[Limit] = (), sign: float = 1.0, target: float | None = None
) -> tuple[Arch, float] | None:
    """The architecture of least ``sign`` times cost that costs at most ``target``, and its cost."""
    edges = _edges(costs, limits, target or 1.0)
    if len(np.unique(edges[:, 0])) <= costs.space.num_blocks:  # peaks leave no stage of a block
        return None
    edges = edges[_undominated(edges, sign) if target is None else _spread(edges)]
    for room in ROOMS:
        choices = _path(edges, sign, target is not None, room)
        if choices is None:
            return None
        arch = costs.space.canonical(
            Arch(tuple(list(costs.space.block_choices(block))[at] for block, at in choices))
        )
        spec = costs.space.spec(arch)
        cost = costs.model.predict(spec)
        if not (target and cost > target) and not violation(limits, spec):
            return arch, cost
    return None


def _edges(costs: BlockCosts, limits: Sequence[Limit], target: float) -> Floats:
    """(E, 5 + L): block, width before and behind, cost and uses of limits as shares, choice.

    Edges that differ in the choice only are listed once, and edges that break a limit on a peak not
    at all; such a limit has no column. Stem and head lead from the last width to width 0. In the
    order of the columns.
    """
    space, rows = costs.space, []
    models, scale = (
        [costs, *(one.costs for one in limits)],
        [target, *(one.value for one in limits)],
    )
    for block, widths in enumerate(costs.widths[:-1]):
        prices = np.stack([one.tables[block].numpy() for one in models], axis=-1) / scale
        before, choice = np.indices(prices.shape[:2]).reshape(2, -1)
        outputs = [space.block_filters(block, one.filters) for one in space.block_choices(block)]
        columns = np.full(len(choice), block), np.take(widths, before), np.take(outputs, choice)
        rows.append(np.column_stack([*columns, prices.reshape(len(choice), -1), choice]))
    widths, zeros = costs.widths[-1], np.zeros(len(costs.widths[-1]))
    prices = np.stack([one.stem_and_head.numpy() for one in models], axis=-1) / scale
    rows.append(np.column_stack([zeros + space.num_blocks, widths, zeros, prices, zeros]))
    edges = np.concatenate(rows)
    peaks = [4 + number for number, one in enumerate(limits) if one.costs.is_peak]
    edges = np.delete(edges[(edges[:, peaks] <= 1).all(1)], peaks, axis=1)
    return edges[np.unique(edges[:, :-1], axis=0, return_index=True)[1]]


def _groups(edges: Floats) -> list[NDArray[np.intp]]:
    """Places of the edges between the same two widths, cheapest first."""
    others = (np.diff(edges[:, :3], axis=0) != 0).any(1)
    return np.split(np.arange(len(edges)), np.flatnonzero(others) + 1)


def _undominated(edges: Floats, sign: float) -> NDArray[np.intp]:
    """Places of the edges that no other one between the same widths beats in cost and all uses."""
    values, keep = edges[:, 3:-1].copy(), []
    values[:, 0] *= sign
    for group in _groups(edges):
        mine, others = values[group], values[group][:, None]
        beaten = (others <= mine).all(2) & (others < mine).any(2)
        keep.append(group[~beaten.any(0)])
    return np.concatenate(keep)


def _spread(edges: Floats) -> NDArray[np.intp]:
    """Places of edges of all costs, so few that HiGHS is done in a second; the frugal ones.

    With them are those that are best if the target, or if only a limit, is what binds.
    """
    if len(edges) <= MOST_EDGES:
        return np.arange(len(edges))
    uses = edges[:, 4:-1].sum(1)
    ranges = [one for group in _groups(edges) for one in np.array_split(group, CELLS) if len(one)]
    frugal = [one[uses[one].argmin()] for one in ranges]
    return np.unique([*frugal, *_undominated(edges, 1.0), *_undominated(edges, -1.0)])


def _path(edges: Floats, sign: float, bounded: bool, room: float) -> list[tuple[int, int]] | None:
    """Block and choice of each edge of the best path but the last; None where there is none.

    Args:
        edges: as of ``_edges``.
        sign: of the cost in what is minimised.
        bounded: whether the cost is limited as its uses are.
        room: share of every limit to leave.
    """
    num = len(edges)
    ends = np.stack([edges[:, :2], edges[:, [0, 2]] + [1, 0]], axis=1).reshape(-1, 2)
    nodes, node = np.unique(ends, axis=0, return_inverse=True)
    flow = coo_array((np.tile([1.0, -1.0], num), (node.ravel(), np.arange(2 * num) // 2)))
    balance = np.zeros(len(nodes))
    balance[0], balance[-1] = 1.0, -1.0
    constraints = [LinearConstraint(flow.tocsr(), balance, balance)]
    limited = edges[:, 3 if bounded else 4 : -1]
    if limited.shape[1]:
        constraints.append(LinearConstraint(limited.T, -np.inf, 1.0 - room))
    with _quiet():
        solution = milp(
            sign * edges[:, 3] / edges[:, 3].max(),
            integrality=np.ones(num),
            bounds=Bounds(0, 1),
            constraints=constraints,
            options={"mip_rel_gap": GAP if bounded else 0.0, "node_limit": MOST_NODES},
        )
    if solution.x is None:
        return None
    taken = edges[solution.x > 0.5][:-1]
    return [(int(edge[0]), int(edge[-1])) for edge in taken]


@contextmanager
def _quiet() -> Iterator[None]:
    """A context in which nothing reaches stdout: HiGHS prints lines of its own now and then."""
    sys.stdout.flush()
    own = os.dup(1)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(own, 1)
        os.close(own)
