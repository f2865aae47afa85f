"""TableError: how far a latency table's predictions lie from measurements. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from supernet.errors import UserError


@dataclass(frozen=True)
class TableError:
    """What a latency table was found to err by, on networks that did not calibrate it.

    Raises:
        UserError: for a value that no table has.
    """

    mean: float
    """Mean absolute relative error."""
    noise: float
    """What of it the noise of measuring alone would give."""
    networks: int

    def __post_init__(self) -> None:
        """Refuse values that no table has."""
        for name in ("mean", "noise"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise UserError(f"table_error.{name} is {value}, it must be at least 0")
        if self.networks < 1:
            raise UserError(f"table_error.networks is {self.networks}, it must be at least 1")

    @property
    def words(self) -> str:
        """Both, for a line."""
        return f"the table errs by {self.mean:.1%} on average, of which noise is {self.noise:.1%}"

    def compare(self, predicted: float, ms: float) -> str:
        """A measurement beside a prediction, and whether the table explains the difference."""
        difference = ms / predicted - 1
        more = "more" if difference > 0 else "less"
        if abs(difference) <= self.noise:
            return "as predicted: the difference is within the noise of measuring"
        usual = "no more than" if abs(difference) <= 2 * self.mean else "more than twice"
        what = "its usual error" if usual == "more than twice" else "twice its usual error"
        return f"{abs(difference):.1%} {more} than predicted, {usual} {what}"
