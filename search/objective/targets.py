"""Targets of a search: what was asked for, what it means here, and which networks hit it."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from search.objective.constraints import Limit
from search.objective.costs import BlockCosts, quantile
from search.objective.feasible import cheapest, costliest, nearest_below
from supernet.cost.model import CostModel
from supernet.errors import UserError
from supernet.space.mnasnet import MnasSpace, reference_spec

BAND = 0.01
"""Share of its target that a choice may lie below it."""

Requested = list[float | str] | float | str
"""One target or several, each as ``resolve_target`` reads it."""


@dataclass(frozen=True)
class Target:
    """An upper limit of the cost, and the band below it from which the choice comes.

    Examples:
        >>> target = Target("p40", cost=12.0, least=11.88)
        >>> target.is_hit_by(11.9), target.is_hit_by(12.1)
        (True, False)
    """

    name: str
    """Target as it was asked for, in letters that suit a file's name."""
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
    """Number of targets that are asked for, before anything is known of the device.

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


def resolve_target(text: str | float, model: CostModel, space: MnasSpace) -> float:
    """A target or limit as a number in the model's unit.

    Args:
        text: a number; ``0.8x mnasnet_a1``, that published network at the space's resolution,
            classes and stem stride; or ``p40``, a percentile of the space.
        model: prices networks.
        space: where to search.

    Raises:
        UserError: for anything else, or a number that is not positive.

    Examples:
        >>> from supernet.cost.model import CLOSED_FORMS
        >>> from supernet.space.mnasnet import MnasSpace
        >>> space = MnasSpace(width=0.35, resolution=32, classes=10)
        >>> round(resolve_target("0.8x mnasnet_small", CLOSED_FORMS["macs"], space))
        1158950
        >>> resolve_target("2.5e6", CLOSED_FORMS["macs"], space)
        2500000.0
    """
    text = str(text).strip()
    if relative := re.fullmatch(r"([0-9]*\.?[0-9]+)\s*x\s+(\S+)", text):
        value = float(relative[1]) * model.predict(reference_spec(relative[2], space))
    elif percentile := re.fullmatch(r"p([0-9]*\.?[0-9]+)", text):
        if float(percentile[1]) > 100:
            raise UserError(f"target {text!r}: a percentile lies between p0 and p100")
        return quantile(model, space, float(percentile[1]) / 100)
    else:
        try:
            value = float(text)
        except ValueError:
            raise UserError(
                f"target {text!r} is neither a number of {model.unit}, nor relative as in"
                " '0.8x mnasnet_a1', nor a percentile of the space as in 'p40'"
            ) from None
    if not 0 < value < math.inf:
        raise UserError(f"target {text!r} must be a positive number")
    return value


def resolve_targets(
    requested: Requested, costs: BlockCosts, limits: Sequence[Limit] = ()
) -> tuple[Target, ...]:
    """The targets of a search, in the order in which they were asked for.

    Raises:
        UserError: for one that means nothing or that no network meets under the constraints, and
            two that are the same.
    """
    texts: dict[float, float | str] = {}
    for text in requested if isinstance(requested, list) else [requested]:
        cost = resolve_target(text, costs.model, costs.space)
        _check_reachable(cost, costs, limits)
        if cost in texts:
            raise UserError(
                f"targets {texts[cost]} and {text} are the same, {cost:.4g} {costs.model.unit}:"
                " leave one out"
            )
        texts[cost] = text
    return tuple(
        Target(_name(text), cost, _least(cost, costs, limits)) for cost, text in texts.items()
    )


def _check_reachable(cost: float, costs: BlockCosts, limits: Sequence[Limit]) -> None:
    unit, (_, least) = costs.model.unit, cheapest(costs)
    if cost < least:
        raise UserError(
            f"target {cost:.4g} {unit} lies below the cheapest network of the space,"
            f" {least:.4g} {unit}: raise the target, or lower the resolution or the width"
        )
    if limits and cost < (least := cheapest(costs, limits)[1]):
        raise UserError(
            f"target {cost:.4g} {unit} lies below the cheapest network that keeps the constraints,"
            f" {least:.4g} {unit}: raise the target or a limit"
        )


def _name(text: float | str) -> str:
    whole = str(text).strip().removesuffix(".0")
    return re.sub(r"[^0-9A-Za-z.+-]+", "_", whole)


def _least(cost: float, costs: BlockCosts, limits: Sequence[Limit]) -> float:
    """The lower end of the band below ``cost``.

    None where that constrains nothing, or where constraints keep networks out of the band.
    """
    if cost >= costliest(costs)[1]:
        return 0.0
    _, nearest = nearest_below(costs, cost, limits)
    if limits and nearest < (1 - BAND) * cost:
        return 0.0
    return min((1 - BAND) * cost, nearest)


def file_names(names: Sequence[str], stem: str, suffix: str) -> list[str]:
    """A file for each target: ``arch.json`` for a single one, else ``arch-p20.json`` and so on."""
    if len(names) == 1:
        return [stem + suffix]
    return [f"{stem}-{name}{suffix}" for name in names]
