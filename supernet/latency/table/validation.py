"""How true predictions are, beside how true the measurements are that judge them. No torch."""

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError, check_range

MIN_SESSIONS = 4
"""Least number of counted sessions of each network on which a claim can rest."""
MAX_NOISE_FLOOR = 0.06
"""A noise floor above this judges no prediction."""
MAX_SPLITS = 35
"""Splits of the sessions into two halves; eight sessions have as many."""


@dataclass(frozen=True)
class Accuracy:
    """Predictions against measurements of the same networks."""

    mape: float
    """Mean absolute relative error."""
    within_5: float
    """Share of the networks whose error is at most 5 %."""
    within_10: float
    kendall_tau: float
    bias: float
    """Mean relative error."""

    def __post_init__(self) -> None:
        """Refuse figures that no comparison gives; UserError names them."""
        check_range("validation: ", self, "mape", least=0)
        _check_shares(self)


@dataclass(frozen=True)
class Noise:
    """Two measurements against each other, each of half of the sessions."""

    floor: float
    """Half of their mean absolute relative difference: the error of the mean of all sessions."""
    within_5: float
    """Share of the networks that a perfect prediction would have within 5 %."""
    within_10: float
    kendall_tau: float
    """Kendall's tau between the two."""

    def __post_init__(self) -> None:
        """Refuse figures that no comparison gives; UserError names them."""
        check_range("validation: noise ", self, "floor", least=0)
        _check_shares(self)


def _check_shares(figures: Accuracy | Noise) -> None:
    check_range("validation: ", figures, "within_5", "within_10", least=0, most=1)
    # Kendall's tau of a computation may pass 1 by its rounding.
    check_range("validation: ", figures, "kendall_tau", least=-1 - 1e-9, most=1 + 1e-9)


@dataclass(frozen=True)
class Validation:
    """How well networks of a space are predicted that did not calibrate the table."""

    networks: int
    sessions: int
    least_sessions: int
    """Sessions that count for the network that has the fewest: a loud one does not."""
    predicted: Accuracy
    noise: Noise
    baselines: Mapping[str, Accuracy] = field(default_factory=dict)
    """Other models, fitted to the same networks as the table."""

    def __post_init__(self) -> None:
        """Refuse counts that no validation has; UserError names them."""
        check_range("validation.", self, "networks", "sessions", least=1, below=2**31)
        check_range("validation.", self, "least_sessions", least=0, most=self.sessions)

    @property
    def own_error(self) -> float:
        """Mean error of the predictions themselves, the noise of what judges them taken out."""
        return math.sqrt(max(0.0, self.predicted.mape**2 - self.noise.floor**2))

    @property
    def verdict(self) -> str:
        """What can be said, in words."""
        if self.sessions < 2:
            return "one session shows no noise, so that no error can be stated"
        if self.noise.floor > MAX_NOISE_FLOOR:
            return (
                f"inconclusive: the noise floor of {self.noise.floor:.1%} lies above"
                f" {MAX_NOISE_FLOOR:.0%}; measure when the machine is quieter"
            )
        if self.predicted.mape <= self.noise.floor:
            return f"no error above the noise floor of {self.noise.floor:.1%} was found"
        return f"the table's own error is about {self.own_error:.1%}"

    def check_claim(self, claim: float) -> None:
        """Refuse a claim on the mean error, such as 0.03 for 3 %, that was not shown.

        Raises:
            UserError: when it is finer than the noise, or not met.
        """
        if self.least_sessions < MIN_SESSIONS:
            raise UserError(
                f"a network was measured in {self.least_sessions} quiet sessions, a claim rests on"
                f" at least {MIN_SESSIONS} of each: measure more sessions or on a quieter machine"
            )
        if self.noise.floor > MAX_NOISE_FLOOR:
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


def validation_of(
    predicted: NDArray[np.float64],
    log_ms: NDArray[np.float64],
    baselines: Mapping[str, NDArray[np.float64]],
) -> Validation:
    """Compare predictions with measurements.

    Args:
        predicted: latencies (networks,) in ms of networks that did not calibrate the table.
        log_ms: logarithms (sessions, networks) of their measured latencies in ms.
        baselines: what other models predict, by name.
    """
    ms = mean_ms(log_ms)
    return Validation(
        networks=len(predicted),
        sessions=len(log_ms),
        least_sessions=int((~np.isnan(log_ms)).sum(0).min()),
        predicted=accuracy(predicted, ms),
        noise=noise(log_ms),
        baselines={name: accuracy(other, ms) for name, other in baselines.items()},
    )


def mean_ms(log_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Geometric means (networks,) of the quiet sessions (sessions, networks), in ms."""
    return np.exp(np.nanmean(log_ms, axis=0))


def accuracy(predicted: NDArray[np.float64], ms: NDArray[np.float64]) -> Accuracy:
    """Accuracy of predictions (networks,) of measurements (networks,), both in ms."""
    error = predicted / ms - 1
    figures = (*_figures(np.abs(error)), _tau(predicted, ms), error.mean())
    return Accuracy(*map(float, figures))


def _figures(errors: NDArray[np.float64]) -> tuple[float, float, float]:
    """The mean of absolute errors, and the shares of at most 5 % and 10 %."""
    return errors.mean(), (errors <= 0.05).mean(), (errors <= 0.1).mean()


def noise(log_ms: NDArray[np.float64]) -> Noise:
    """Noise of the mean of some sessions, over all ways to split them into halves.

    ``log_ms`` are logarithms (sessions, networks) of ms; NaN where a session does not count.
    """
    sessions = len(log_ms)
    if sessions < 2:
        return Noise(0.0, 1.0, 1.0, 1.0)
    found = []
    for one, other in _halves(sessions):
        here = ~(np.isnan(log_ms[one]).all(0) | np.isnan(log_ms[other]).all(0))
        if here.sum() < 2:
            continue
        first, second = (np.nanmean(log_ms[half][:, here], axis=0) for half in (one, other))
        # Of an odd number of sessions one is left out here, but not of their mean.
        share = math.sqrt(len(one) / (2 * sessions))
        error = np.abs(np.expm1((first - second) * share))
        found.append([*_figures(error), _tau(first, second)])
    if not found:
        raise UserError(
            "no network was measured twice while the machine was quiet: measure more sessions"
        )
    return Noise(*np.mean(found, axis=0).tolist())


def _halves(sessions: int) -> Iterator[tuple[list[int], list[int]]]:
    """Disjoint halves of the sessions: all, or random ones where there are too many."""
    half, rng = sessions // 2, random.Random(0)
    if math.comb(sessions, half) > 2 * MAX_SPLITS:
        for _ in range(MAX_SPLITS):
            drawn = rng.sample(range(sessions), 2 * half)
            yield drawn[:half], drawn[half:]
        return
    for one in itertools.combinations(range(sessions), half):
        others = [number for number in range(sessions) if number not in one]
        for other in itertools.combinations(others, half):
            if one < other:
                yield list(one), list(other)


def _tau(one: Sequence[float] | NDArray, other: Sequence[float] | NDArray) -> float:
    from scipy.stats import kendalltau  # takes a second to load; a search only reads tables

    # Kendall's tau of equal values is undefined: no order was predicted.
    return float(np.nan_to_num(kendalltau(one, other).statistic))
