"""Measured: what a network takes on the device, beside what was predicted. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from supernet.errors import UserError


@dataclass(frozen=True)
class Measured:
    """What a network was predicted to take, checked on the device itself.

    Raises:
        UserError: for a time that is not positive.
    """

    ms: float
    """Of one image on one thread."""
    difference_percent: float
    """How far that lies above the prediction, or below it if negative; to two decimals."""

    def __post_init__(self) -> None:
        """Refuse a time that no network takes."""
        if not 0 < self.ms < math.inf:
            raise UserError(f"measured.ms is {self.ms}, it must be a finite number above 0")

    @staticmethod
    def beside(predicted: float, ms: float) -> Measured:
        """The time ``ms`` of a network that was ``predicted`` to take another, in ms."""
        return Measured(ms, round(100 * (ms / predicted - 1), 2))

    @property
    def comparison(self) -> str:
        """The difference in words."""
        more = "more" if self.difference_percent > 0 else "less"
        return f"{abs(self.difference_percent):.1f} % {more} than predicted"

    def check(self, predicted: float, unit: str) -> None:
        """Refuse a difference that does not follow from the two times.

        Args:
            predicted: what was predicted.
            unit: of the prediction.

        Raises:
            UserError: naming the value and what it should be.
        """
        if unit != "ms":
            raise UserError(f"measured is in ms, but unit is {unit}: leave it out")
        follows = Measured.beside(predicted, self.ms).difference_percent
        if self.difference_percent != follows:
            raise UserError(
                f"measured.difference_percent is {self.difference_percent}, but between"
                f" {predicted} and {self.ms} ms lie {follows}: the file was changed after the"
                " search wrote it, restore it or search again"
            )
