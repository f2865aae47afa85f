"""Records in arch.json: uses of constraints, a measured time, a table's error. No torch."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from supernet.cost.model import CLOSED_FORMS, LIMIT_UNITS, MAX_MS, MIN_MS
from supernet.errors import UserError, check_choice, check_range
from supernet.files.reading import short
from supernet.space.spec import NetSpec


def check_follows(name: str, told: object, follows: object, why: str) -> None:
    """Refuse a value of a file that does not follow from the others.

    Args:
        name: of the value.
        told: what the file says.
        follows: what it must be.
        why: stands before it in the error: ``but its architecture has``.

    Raises:
        UserError: naming the value and what it must be.
    """
    if told != follows:
        raise UserError(
            f"{name} is {short(told)}, {why} {short(follows)}: the file was changed after the"
            " search wrote it, restore it or search again"
        )


PACKAGES = ("mnasnet-search", "torch", "torchvision", "pytorch-lightning", "timm", "pillow")
"""Packages on which figures depend: what computes, and what reads images."""


@cache
def package_versions(names: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Versions of packages here; one that is not installed, such as ours, is left out."""
    found = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@cache
def code_digest() -> str:
    """Digest of this program's own code, which may differ between two copies of one version."""
    place, hashed = Path(__file__).parents[1], hashlib.blake2b(digest_size=8)
    for package in ("supernet", "search", "retrain"):
        for file in sorted((place / package).rglob("*.py")):
            hashed.update(f"{file.relative_to(place)}\n".encode() + file.read_bytes())
    return hashed.hexdigest()


@dataclass(frozen=True)
class ConstraintUse:
    """A constraint of a search and what its choice uses of it."""

    cost: str
    """Ms, macs, params, memory or size."""
    limit: float
    """Limit in the unit of the cost; bytes for memory and size."""
    predicted: float
    table: str = ""
    """Hash of the latency table that predicted, empty for another cost."""
    device: str = ""
    """Device of that table."""

    def check(self, spec: NetSpec) -> None:
        """Refuse what no search can have written of a network.

        Raises:
            UserError: naming the field, its value and what it must be.
        """
        check_choice("constraints: cost", self.cost, LIMIT_UNITS)
        longest = MAX_MS if self.cost == "ms" else math.inf
        check_range(f"constraints: {self.cost} ", self, "limit", "predicted", above=0, most=longest)
        if self.predicted > self.limit:
            raise UserError(
                f"constraints: {self.cost} is {self.predicted}, above its limit {self.limit}"
            )
        if closed := CLOSED_FORMS.get(self.cost):
            name, follows = f"constraints: {self.cost}", closed.predict(spec)
            check_follows(name, self.predicted, follows, "but the network has")


@dataclass(frozen=True)
class Measured:
    """Time that a network takes on the device that it was predicted for.

    Raises:
        UserError: for a time that is not positive.

    Examples:
        >>> measured = Measured.beside(predicted=12.0, ms=12.6)
        >>> measured.difference_percent, measured.comparison
        (5.0, '5.0 % more than predicted')
    """

    ms: float
    """Time of one image on one thread, in ms."""
    difference_percent: float
    """Percent by which it lies above the prediction, or below if negative; to two decimals."""

    def __post_init__(self) -> None:
        """Refuse a time that no network takes."""
        check_range("measured.", self, "ms", least=MIN_MS, most=MAX_MS)

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
        check_follows(
            "measured.difference_percent",
            self.difference_percent,
            Measured.beside(predicted, self.ms).difference_percent,
            f"but between {predicted} and {self.ms} ms lie",
        )


NOT_LEARNED = "not learned"
"""The alarm of a network that tells no more than its most frequent class would."""


@dataclass(frozen=True)
class Chance:
    """Accuracy that guessing has on the images on which a network was judged.

    Raises:
        UserError: for values that no images have.

    Examples:
        >>> Chance.beside(accuracy=0.93, majority_share=0.2, images=500).alarm
        ''
        >>> Chance.beside(accuracy=0.21, majority_share=0.2, images=500).alarm
        'not learned'
    """

    majority_share: float
    """Share of the images that are of their most frequent class."""
    images: int
    alarm: str
    """``NOT_LEARNED`` where the network's accuracy is no better, else empty."""

    def __post_init__(self) -> None:
        """Refuse values that no images have."""
        check_range("chance.", self, "majority_share", above=0, most=1)
        check_range("chance.", self, "images", least=1, below=2**53)

    @staticmethod
    def beside(accuracy: float, majority_share: float, images: int) -> Chance:
        """Chance and, within two standard errors of the share, the alarm of an accuracy."""
        error = math.sqrt(majority_share * (1 - majority_share) / images)
        is_no_better = accuracy <= majority_share + 2 * error
        return Chance(majority_share, images, NOT_LEARNED if is_no_better else "")

    @staticmethod
    def of_figures(figures: Mapping[str, float]) -> Chance | None:
        """That of a retraining's figures on a split; None where they do not tell, as of boxes."""
        names = ("accuracy", "majority_share", "images")
        if not all(name in figures for name in names):
            return None
        accuracy, share, images = (figures[name] for name in names)
        return Chance.beside(accuracy, share, round(images))

    def words(self, accuracy: float) -> str:
        """What is wrong, with its figures."""
        return (
            f"{NOT_LEARNED}: the accuracy is {accuracy:.1%} of {self.images:,} images, where their"
            f" most frequent class alone has {self.majority_share:.1%}"
        )

    def check(self, accuracy: float) -> None:
        """Refuse an alarm that does not follow from an accuracy.

        Raises:
            UserError: naming it and what it must be.
        """
        follows = Chance.beside(accuracy, self.majority_share, self.images).alarm
        why = f"but with an accuracy of {accuracy} it is"
        check_follows("chance.alarm", self.alarm, follows, why)


@dataclass(frozen=True)
class TableError:
    """Error of a latency table, on networks that did not calibrate it.

    Raises:
        UserError: for a value that no table has.

    Examples:
        >>> error = TableError(mean=0.026, noise=0.007, networks=16)
        >>> error.compare(predicted=10.0, ms=10.2)
        '2.0% more than predicted, no more than twice its usual error'
    """

    mean: float
    """Mean absolute relative error."""
    noise: float
    """Share of it that the noise of measuring alone would give."""
    networks: int

    def __post_init__(self) -> None:
        """Refuse values that no table has."""
        check_range("table_error.", self, "mean", "noise", least=0)
        check_range("table_error.", self, "networks", least=1, below=2**53)

    @property
    def words(self) -> str:
        """Mean and noise, for a line."""
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
