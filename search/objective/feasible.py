"""Feasible networks of a space: the cheapest, the costliest, the nearest below a target, the best.

A network is a path from the stem's width through a width behind each block to the classifier, and
a stage is an edge of it; blocks that share one choice are one edge. The best path whose sums keep a
target and all limits is an integer program, which HiGHS solves.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import coo_array, csr_array

from search.objective.block_tables import BlockTables
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
FEW_EDGES, TIMES = 80, 4
"""Edges among which the network of the largest value is first sought, and how many times more where
they hold none."""
ROUNDING = 1e-9
"""Difference of values that is none."""


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


def best_within(
    values: BlockTables, costs: BlockCosts, least: float, most: float, limits: Sequence[Limit] = ()
) -> tuple[Arch, float] | None:
    """The architecture of the largest value that costs from ``least`` to ``most``, and its cost.

    It keeps all limits. Exactly, in some .3 s in the paper's space and up to 2 s under two limits:
    no edge is left out but those that the linear relaxation prices out. None where none was found.

    Args:
        values: single ones, which add up.
        costs: of the same space.
        least: cost.
        most: cost.
        limits: to keep.
    """
    tables = [costs, *(one.costs for one in limits), values]
    edges = _edges(tables, [most, *(one.value for one in limits), 1.0])
    if not len(edges):
        return None
    objective, rows = -edges[:, -2], edges[:, 3:-2]
    lowest = np.append(least / most, np.full(rows.shape[1] - 1, -np.inf))

    def path(room: float) -> Floats | None:
        found = _priced_path(edges, objective, rows, lowest + room, 1 - room)
        return None if found is None else edges[found]

    return _kept(path, costs, (least, most), limits)


def _best(
    costs: BlockCosts, limits: Sequence[Limit] = (), sign: float = 1.0, target: float | None = None
) -> tuple[Arch, float] | None:
    """The architecture of least ``sign`` times cost that costs at most ``target``, and its cost."""
    tables = [costs, *(one.costs for one in limits)]
    edges = _edges(tables, [target or 1.0, *(one.value for one in limits)])
    if not len(edges):
        return None
    edges = edges[_undominated(edges, sign) if target is None else _spread(edges)]
    objective = sign * edges[:, 3] / edges[:, 3].max()
    rows, gap = (edges[:, 4:-1], 0.0) if target is None else (edges[:, 3:-1], GAP)

    def path(room: float) -> Floats | None:
        found = _path(edges, objective, rows, -np.inf, 1 - room, gap)
        return None if found is None else edges[found]

    return _kept(path, costs, (0.0, target or np.inf), limits)


def _kept(
    path: Callable[[float], Floats | None],
    costs: BlockCosts,
    within: tuple[float, float],
    limits: Sequence[Limit],
) -> tuple[Arch, float] | None:
    """The architecture of a path, which keeps what it must by its own price, and its cost.

    ``path`` gives the edges of the best one for a share of all limits to leave.
    """
    least, most = within
    for room in ROOMS:
        edges = path(room)
        if edges is None:
            return None
        space, places = costs.space, edges[:-1, -1].astype(int).tolist()
        groups = zip(space.groups, places, strict=True)
        choices = [list(space.block_choices(group[0]))[place] for group, place in groups]
        arch = space.canonical(space.repeated(choices))
        spec = space.spec(arch)
        cost = costs.model.predict(spec)
        if least <= cost <= most and not violation(limits, spec):
            return arch, cost
    return None


def _edges(tables: Sequence[BlockTables], scales: Sequence[float]) -> Floats:
    """(E, 4 + T): group, width before and behind, T quantities over their scales, choice.

    Edges that differ in the choice only are listed once, and edges with a peak above its scale not
    at all; a peak has no column. Stem and head lead from the last width to width 0. In the order of
    the columns; none at all where peaks leave no choice of a group.
    """
    space, all_widths, rows = tables[0].space, tables[0].widths, []
    for number, (group, widths) in enumerate(zip(space.groups, all_widths, strict=False)):
        shares = np.stack([one.tables[number].numpy() for one in tables], axis=-1) / scales
        before, choice = np.indices(shares.shape[:2]).reshape(2, -1)
        ways = space.block_choices(group[0])
        outputs = [space.block_filters(group[-1], one.filters) for one in ways]
        columns = np.full(len(choice), number), np.take(widths, before), np.take(outputs, choice)
        rows.append(np.column_stack([*columns, shares.reshape(len(choice), -1), choice]))
    widths, zeros = all_widths[-1], np.zeros(len(all_widths[-1]))
    shares = np.stack([one.stem_and_head.numpy() for one in tables], axis=-1) / scales
    rows.append(np.column_stack([zeros + len(space.groups), widths, zeros, shares, zeros]))
    edges = np.concatenate(rows)
    peaks = [3 + number for number, one in enumerate(tables) if one.is_peak]
    edges = np.delete(edges[(edges[:, peaks] <= 1).all(1)], peaks, axis=1)
    if len(np.unique(edges[:, 0])) <= len(space.groups):
        return edges[:0]
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
    single = edges[-1, 0] == 1  # an edge and the end: any number is done at once
    if single or len(edges) <= MOST_EDGES:
        return np.arange(len(edges))
    uses = edges[:, 4:-1].sum(1)
    ranges = [one for group in _groups(edges) for one in np.array_split(group, CELLS) if len(one)]
    frugal = [one[uses[one].argmin()] for one in ranges]
    return np.unique([*frugal, *_undominated(edges, 1.0), *_undominated(edges, -1.0)])


def _priced_path(
    edges: Floats, objective: Floats, rows: Floats, least: Floats, most: float
) -> NDArray[np.intp] | None:
    """The best path as of ``_path``, exactly, by few of many edges.

    An edge can be in no better path than a known one if its reduced cost in the linear relaxation
    exceeds what that path lies above the relaxation (Nemhauser and Wolsey 1988, II.5.2).
    """
    bound, reduced = _relaxed(edges, objective, rows, least, most)
    if bound is None:
        return None
    order, num, known, best = np.argsort(reduced, kind="stable"), FEW_EDGES, 0, None
    while known < num:
        known = min(num, len(edges))
        few = np.sort(order[:known])
        places = _path(edges[few], objective[few], rows[few], least, most)
        if places is None:
            num = min(TIMES * known, len(edges))
        else:
            best = few[places]
            above = float(objective[best].sum()) - bound + ROUNDING
            num = int((reduced <= above).sum())
    return best


def _relaxed(
    edges: Floats, objective: Floats, rows: Floats, least: Floats, most: float
) -> tuple[float | None, Floats]:
    """The least objective of a mixture of paths, None without one; reduced costs (E,) of edges."""
    flow, balance = _flow(edges)
    bounded = np.isfinite(least)
    solution = linprog(
        objective,
        A_ub=csr_array(np.vstack([rows.T, -rows.T[bounded]])),
        b_ub=np.concatenate([np.full(rows.shape[1], most), -least[bounded]]),
        A_eq=flow,
        b_eq=balance,
        method="highs",
    )
    if solution.x is None:
        return None, np.zeros(len(edges))
    return float(solution.fun), solution.lower.marginals


def _path(
    edges: Floats,
    objective: Floats,
    rows: Floats,
    least: Floats | float,
    most: float,
    gap: float = 0.0,
) -> NDArray[np.intp] | None:
    """Places of the edges of the path of the least objective, in its order; None without one.

    Args:
        edges: (E, ...) as of ``_edges``.
        objective: (E,) to add up.
        rows: (E, R) of sums that are limited.
        least: limits of these from below.
        most: limit of all of them from above.
        gap: share of the objective by which the path may miss the least.
    """
    flow, balance = _flow(edges)
    constraints = [LinearConstraint(flow, balance, balance)]
    if rows.shape[1]:
        constraints.append(LinearConstraint(rows.T, least, most))
    with _quiet():
        solution = milp(
            objective,
            integrality=np.ones(len(edges)),
            bounds=Bounds(0, 1),
            constraints=constraints,
            options={"mip_rel_gap": gap, "node_limit": MOST_NODES},
        )
    return None if solution.x is None else np.flatnonzero(solution.x > 0.5)


def _flow(edges: Floats) -> tuple[csr_array, Floats]:
    """What leaves each width of each group less what enters it, (N, E); and what is due, (N,)."""
    num = len(edges)
    ends = np.stack([edges[:, :2], edges[:, [0, 2]] + [1, 0]], axis=1).reshape(-1, 2)
    nodes, node = np.unique(ends, axis=0, return_inverse=True)
    flow = coo_array((np.tile([1.0, -1.0], num), (node.ravel(), np.arange(2 * num) // 2)))
    balance = np.zeros(len(nodes))
    balance[0], balance[-1] = 1.0, -1.0
    return flow.tocsr(), balance


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
