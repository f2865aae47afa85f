"""Which networks are tuned: uniform ones near a target, and what a controller proposes."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from search.controllers.controller import Controller
from search.controllers.random_search import draw_uniform
from search.objective.constraints import violations
from search.objective.feasible import nearest_below
from search.objective.local_search import LocalSearch
from search.objective.objective import Objective
from search.objective.targets import Target
from search.surrogate.tunings import Code

T = TypeVar("T")

DRAWS = 20_000
"""Uniform architectures to look among, at a time, for those that hit a target."""
MOST_TIMES = 5
"""How often: then changes of a few decisions lead into the band what does not lie there."""
EDGE = 1e-9
"""Share of an edge of the band by which sums of the same costs may differ."""
APART = 4
"""Decisions in which networks that are tuned together differ: near copies tell the same."""


def hits(objective: Objective, target: Target, rows: Tensor) -> Tensor:
    """(M,) bool: which architectures (M, D) may be chosen for a target."""
    costs, space = objective.costs.of(rows), objective.space
    fits = (costs >= target.least) & (costs <= target.cost)
    # Tables add up in another order than the price of one network, by which it is chosen.
    edges = costs.new_tensor([target.least, target.cost])
    on_edge = torch.isclose(costs[:, None], edges, rtol=EDGE, atol=0.0).any(dim=1)
    distinct, place = rows[on_edge].unique(dim=0, return_inverse=True)
    specs = [space.spec(space.decode(row)) for row in distinct.tolist()]
    hit = [target.is_hit_by(objective.cost_model.predict(spec)) for spec in specs]
    fits[on_edge] = torch.tensor(hit, dtype=torch.bool)[place]
    return fits & (violations(objective.constraints, rows) == 0)


def canonical_codes(objective: Objective, rows: Tensor) -> list[Code]:
    """Distinct canonical codes of architectures (M, D), in their order."""
    return list(dict.fromkeys(_canonical(objective, rows)))


def _canonical(objective: Objective, rows: Tensor) -> Iterator[Code]:
    space = objective.space
    for row in dict.fromkeys(map(tuple, rows.tolist())):
        yield space.encode(space.canonical(space.decode(row)))


def uniform_codes(
    objective: Objective,
    target: Target,
    num: int,
    taken: Collection[Code],
    generator: torch.Generator,
) -> list[Code]:
    """Canonical codes of networks that hit a target and are uniform otherwise.

    Fewer where the space has fewer, at least the nearest one below. Where hardly any network of the
    space hits it, changes of single decisions lead uniform ones there, which are then no longer
    quite uniform.

    Args:
        objective: With costs, and the constraints to keep.
        target: To hit.
        num: How many; may be 0.
        taken: Codes that have been tuned before.
        generator: On the CPU.
    """
    if not num:
        return []
    sizes = torch.tensor(objective.space.decision_sizes)
    found: dict[Code, None] = {}
    for _ in range(MOST_TIMES):
        rows = draw_uniform(sizes, DRAWS, generator)
        # Spellings of one network are priced alike, so a network with many is drawn more often.
        for code in _canonical(objective, rows[hits(objective, target, rows)]):
            if code not in taken:
                found[code] = None
            if len(found) >= num:
                return list(found)
    local = LocalSearch(objective.costs, target, indifferent(sizes), objective.constraints)
    rows = local.find(rows[: DRAWS // 100], num, generator)
    landed = canonical_codes(objective, rows[hits(objective, target, rows)])
    nearest, _ = nearest_below(objective.costs, target.cost, objective.constraints)
    landed.append(objective.space.encode(objective.space.canonical(nearest)))
    found |= dict.fromkeys(code for code in landed if code not in taken)
    return list(found)[:num]


def indifferent(sizes: Tensor) -> Callable[[Tensor], Tensor]:
    """Preferences that hold all values of a decision, of which there are ``sizes`` (D,), alike."""
    exists = torch.arange(int(sizes.max())) < sizes[:, None]
    log_prob = (exists.double() / sizes[:, None]).log()
    return lambda rows: log_prob.expand(len(rows), -1, -1)


def proposed_codes(
    controller: Controller,
    objective: Objective,
    number: int,
    samples: int,
    values: Callable[[Tensor], Tensor],
    generator: torch.Generator,
) -> list[Code]:
    """Canonical codes of what a controller proposes for a target, the most valuable first.

    Args:
        controller: On the CPU.
        objective: Whose targets and constraints.
        number: Of the target.
        samples: How many of its finalists are led into the band below the target.
        values: (M,) of architectures (M, D): the more the better.
        generator: On the CPU.
    """
    target = objective.targets[number]
    finalists = controller.finalists(samples, generator, number)
    local = LocalSearch(
        objective.costs,
        target,
        lambda rows: controller.preferences(rows, number),
        objective.constraints,
    )
    rows = local.find(finalists, samples, generator)
    codes = canonical_codes(objective, rows[hits(objective, target, rows)])
    if not codes:
        return []
    order = values(torch.tensor(codes)).argsort(descending=True, stable=True)
    return [codes[place] for place in order.tolist()]


def apart(
    ranked: Iterable[Code], num: int, among: Sequence[Code] = (), least: int = APART
) -> list[Code]:
    """The first ``num`` codes that differ from each other, and from those ``among`` which they are.

    Where too few differ in ``least`` decisions, fewer will do.
    """
    ranked, kept = list(ranked), list(among)
    for distance in range(least, 0, -1):
        for code in ranked:
            if len(kept) - len(among) >= num:
                break
            if all(differences(code, other) >= distance for other in kept):
                kept.append(code)
    return kept[len(among) :]


def differences(one: Code, other: Code) -> int:
    """Number of decisions in which two codes differ."""
    return sum(a != b for a, b in zip(one, other, strict=True))


def shares(num: int, parts: Sequence[T]) -> list[tuple[T, int]]:
    """``num`` dealt among parts, as evenly as can be; those that get nothing are left out."""
    dealt = [(part, len(range(place, num, len(parts)))) for place, part in enumerate(parts)]
    return [(part, own) for part, own in dealt if own]
