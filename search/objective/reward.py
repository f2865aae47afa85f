"""Reward: accuracy and cost of a network in one number."""

from dataclasses import dataclass
from typing import Literal, TypeVar

from torch import Tensor

from supernet.errors import UserError, check_choice, check_range

Number = TypeVar("Number", float, Tensor)

RewardKind = Literal["absolute", "soft", "hard"]
DEFAULTS: dict[RewardKind, tuple[float, float]] = {
    "absolute": (0.0, -0.1),
    "soft": (-0.07, -0.07),
    "hard": (0.0, -1.0),
}
"""Alpha and beta of each kind, as published; alpha plays no part in ``absolute``."""


@dataclass(frozen=True)
class Reward:
    """Reward: how cost is traded for accuracy.

    * ``absolute``: accuracy + beta * abs(cost / target - 1), beta = -0.1 (TuNAS, Bender
      et al. 2020, and its code). Too cheap is penalised as well, so one search lands on the target.
    * ``soft``: accuracy * (cost / target) ** w, w = alpha up to the target and beta above it, both
      -0.07 (MnasNet, eq. 2-3): twice the cost must buy 5 % more accuracy. One search visits
      networks on both sides of the target.
    * ``hard``: the same form with alpha = 0 and beta = -1: only cost above the target counts.
      Some accounts of the paper print beta = 1, which would reward slow networks.

    Attributes:
        kind: The form.
        alpha: Exponent up to the target (``soft``, ``hard``); the kind's published value if None.
        beta: Exponent or slope above the target; the kind's published value if None.

    Examples:
        >>> reward = Reward(kind="soft")
        >>> round(reward(0.9, cost=14.0, target=12.0), 4), reward(0.9, cost=12.0, target=12.0)
        (0.8903, 0.9)
    """

    kind: RewardKind = "absolute"
    alpha: float | None = None
    beta: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that no search can mean.

        Raises:
            UserError: naming the key, its value and what is allowed.
        """
        check_choice("reward.kind", self.kind, DEFAULTS)
        if self.kind == "absolute" and self.alpha is not None:
            raise UserError(
                f"reward.alpha is {self.alpha}, but kind absolute has none: leave it out or choose"
                " kind soft or hard"
            )
        check_range("reward.", self, "alpha")
        # Above 0 it would reward networks for missing the target.
        check_range("reward.", self, "beta", most=0)

    @property
    def coefficients(self) -> tuple[float, float]:
        """Alpha and beta that are in force."""
        alpha, beta = DEFAULTS[self.kind]
        return (
            alpha if self.alpha is None else self.alpha,
            beta if self.beta is None else self.beta,
        )

    def __call__(self, accuracy: Number, cost: Number, target: float | Number) -> Number:
        """Rewards of networks, element by element.

        Args:
            accuracy: In [0, 1].
            cost: Above 0, in any unit (ms, MACs, parameters).
            target: Above 0, in the unit of ``cost``; one for all, or one for each.

        Raises:
            UserError: if a target is not above 0.
        """
        least = float(target.min()) if isinstance(target, Tensor) else target
        if not least > 0:
            raise UserError(f"target is {least}, it must be above 0, in the unit of the cost")
        alpha, beta = self.coefficients
        ratio = cost / target
        if self.kind == "absolute":
            return accuracy + beta * abs(ratio - 1)
        exponent = beta + (alpha - beta) * (ratio <= 1)
        return accuracy * ratio**exponent

    def constrained(self, reward: Number, violation: Number) -> Number:
        """Rewards of networks that may break constraints; those that keep them lose nothing.

        The price of a broken constraint is that of a broken target: beta times the violation in
        ``absolute``, else the factor (1 + violation) ** beta.

        Args:
            reward: Without constraints.
            violation: Sum of the shares by which a network lies above its limits; 0 if above none.
        """
        _, beta = self.coefficients
        if self.kind == "absolute":
            return reward + beta * violation
        return reward * (1 + violation) ** beta
