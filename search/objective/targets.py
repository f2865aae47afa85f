"""Targets of a search: what was asked for, what it means here, and which networks hit it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from search.objective.constraints import Limit
from search.objective.costs import resolve_target
from search.objective.feasible import dearest_feasible, fastest, fastest_within, slowest
from search.objective.reach import dearest_within
from supernet.cost.model import CostModel
from supernet.errors import UserError
from supernet.space.arch import Arch
from supernet.space.mnasnet import MnasSpace


def check_target(target: float, table: CostModel, space: MnasSpace) -> None:
    """Refuse a target that no network of a space can meet.

    Raises:
        UserError: naming the target and the cheapest network's cost.
    """
    _, least = fastest(space, table)
    if target < least:
        raise UserError(
            f"target {target:.4g} {table.unit} lies below the cheapest network of the space,"
            f" {least:.4g} {table.unit}: raise the target, or lower the resolution or the width"
        )


BAND = 0.01
"""How far below its target a choice may lie, as a share of it."""

Requested = list[float | str] | float | str
"""One target or several, each as ``search.objective.costs.resolve_target`` reads it."""


@dataclass(frozen=True)
class Target:
    """An upper limit of the cost, and the band below it from which the choice comes."""

    name: str
    """As it was asked for, in letters that suit a file's name."""
    cost: float
    """Upper limit, in the cost's unit."""
    least: float = 0.0
    """Lower end of the band: 1 % below the target. Where no network lies so near, the cost of the
    nearest one from below; 0 where the target constrains nothing."""

    def is_hit_by(self, cost: float) -> bool:
        """Whether a network of this cost may be chosen."""
        return self.least <= cost <= self.cost

    @property
    def is_near(self) -> bool:
        """Whether the band is as narrow as it should be."""
        return self.least >= (1 - BAND) * self.cost


def num_targets(requested: Requested) -> int:
    """How many are asked for, before anything is known of the device.

    Raises:
        UserError: for none.
    """
    if requested == []:
        raise UserError("target is an empty list: give at least one, as in '[p20, p50, p80]'")
    return len(requested) if isinstance(requested, list) else 1


def one_target(requested: Requested) -> float | str:
    """The target of what can have only one.

    Raises:
        UserError: for several.
    """
    if num_targets(requested) > 1:
        names = ", ".join(map(str, requested if isinstance(requested, list) else [requested]))
        raise UserError(f"the search has targets {names}: give one of them by --target")
    return requested[0] if isinstance(requested, list) else requested


def resolve_targets(
    requested: Requested, cost_model: CostModel, space: MnasSpace, constraints: Sequence[Limit] = ()
) -> tuple[Target, ...]:
    """The targets of a search, in the order in which they were asked for.

    Raises:
        UserError: for one that means nothing or that no network meets under the constraints, and
            two that are the same.
    """
    texts = requested if isinstance(requested, list) else [requested]
    costs: dict[float, float | str] = {}
    for text in texts:
        cost = resolve_target(text, cost_model, space)
        check_target(cost, cost_model, space)
        if constraints:
            _check_constrained(cost, cost_model, space, constraints)
        if cost in costs:
            raise UserError(
                f"targets {costs[cost]} and {text} are the same, {cost:.4g} {cost_model.unit}:"
                " leave one out"
            )
        costs[cost] = text
    _, most = slowest(space, cost_model)
    return tuple(
        Target(
            _name(text), cost, 0.0 if cost >= most else _least(cost, cost_model, space, constraints)
        )
        for cost, text in costs.items()
    )


def _check_constrained(
    cost: float, cost_model: CostModel, space: MnasSpace, constraints: Sequence[Limit]
) -> None:
    _, least = fastest_within(space, cost_model, constraints)
    if cost < least:
        unit = cost_model.unit
        raise UserError(
            f"target {cost:.4g} {unit} lies below the cheapest network that keeps the constraints,"
            f" {least:.4g} {unit}: raise the target or a limit"
        )


def _name(text: float | str) -> str:
    whole = str(text).strip().removesuffix(".0")
    return re.sub(r"[^0-9A-Za-z.+-]+", "_", whole)


def _least(
    cost: float, cost_model: CostModel, space: MnasSpace, constraints: Sequence[Limit]
) -> float:
    """The lower end of the band below ``cost``; none where constraints keep networks out of it."""
    _, nearest = nearest_within(space, cost_model, cost, constraints)
    if constraints and nearest < (1 - BAND) * cost:
        return 0.0
    return min((1 - BAND) * cost, nearest)


def nearest_within(
    space: MnasSpace, cost_model: CostModel, cost: float, constraints: Sequence[Limit]
) -> tuple[Arch, float]:
    """The dearest architecture that costs at most ``cost`` and keeps the constraints.

    Without constraints it is found exactly, else as ``search.objective.feasible`` does.
    """
    if not constraints:
        return dearest_within(space, cost_model, cost)
    found = dearest_feasible(space, cost_model, cost, constraints)
    return found or fastest_within(space, cost_model, constraints)


def file_names(names: Sequence[str], stem: str, suffix: str) -> list[str]:
    """A file for each target: ``arch.json`` for a single one, else ``arch-p20.json`` and so on."""
    if len(names) == 1:
        return [stem + suffix]
    return [f"{stem}-{name}{suffix}" for name in names]
