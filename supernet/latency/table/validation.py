"""How true predictions are, beside how true the measurements are that judge them. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from supernet.errors import UserError

SESSIONS = 4
"""Least number of counted sessions of each network on which a claim can rest."""
INCONCLUSIVE = 0.06
"""A noise floor above this judges no prediction."""


@dataclass(frozen=True)
class Figures:
    """Predictions against measurements of the same networks."""

    mape: float
    """Mean absolute relative error."""
    within_5: float
    """Share of the networks whose error is at most 5 %."""
    within_10: float
    kendall_tau: float
    bias: float
    """Mean relative error."""


@dataclass(frozen=True)
class Noise:
    """Two measurements against each other, each of half of the sessions."""

    floor: float
    """Half of their mean absolute relative difference: the error of the mean of all sessions."""
    within_5: float
    """Share of the networks that a perfect prediction would have within 5 %."""
    within_10: float
    kendall_tau: float
    """Between the two."""


@dataclass(frozen=True)
class Validation:
    """How well networks of a space are predicted that did not calibrate the table."""

    networks: int
    sessions: int
    least_sessions: int
    """That count, for the network that has the fewest: a loud session does not."""
    predicted: Figures
    noise: Noise
    baselines: Mapping[str, Figures] = field(default_factory=dict)
    """Other models, fitted to the same networks as the table."""

    @property
    def own_error(self) -> float:
        """Mean error of the predictions themselves, the noise of what judges them taken out."""
        return math.sqrt(max(0.0, self.predicted.mape**2 - self.noise.floor**2))

    @property
    def verdict(self) -> str:
        """What can be said, in words."""
        if self.sessions < 2:
            return "one session shows no noise, so that no error can be stated"
        if self.noise.floor > INCONCLUSIVE:
            return (
                f"inconclusive: the noise floor of {self.noise.floor:.1%} lies above"
                f" {INCONCLUSIVE:.0%}; measure when the machine is quieter"
            )
        if self.predicted.mape <= self.noise.floor:
            return f"no error above the noise floor of {self.noise.floor:.1%} was found"
        return f"the table's own error is about {self.own_error:.1%}"

    def check_claim(self, claim: float) -> None:
        """Refuse a claim on the mean error that was not shown.

        Args:
            claim: such as 0.03, that predictions err by at most 3 % on average.

        Raises:
            UserError: when it is finer than the noise, or not met.
        """
        if self.least_sessions < SESSIONS:
            raise UserError(
                f"a network was measured in {self.least_sessions} quiet sessions, a claim rests on"
                f" at least {SESSIONS} of each: measure more sessions or on a quieter machine"
            )
        if self.noise.floor > INCONCLUSIVE:
            raise UserError(self.verdict)
        if claim < self.noise.floor:
            raise UserError(
                f"an error of {claim:.1%} is finer than the noise floor, {self.noise.floor:.1%}:"
                " nobody could tell it here; measure more sessions or on a quieter machine"
            )
        if self.predicted.mape > claim:
            raise UserError(
                f"an error of at most {claim:.1%} is not met: it is {self.predicted.mape:.1%},"
                f" of which noise is {self.noise.floor:.1%}; calibrate with more networks"
            )
