"""Judging predictions by measurements, and measurements by each other."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from supernet.errors import UserError
from supernet.latency.table.validation import Figures, Noise, Validation

MAX_SPLITS = 35
"""Of the sessions into two halves; eight sessions have as many."""


def judge(
    predicted: NDArray[np.float64],
    log_ms: NDArray[np.float64],
    others: Mapping[str, NDArray[np.float64]],
) -> Validation:
    """Compare predictions with measurements.

    Args:
        predicted: latencies (networks,) in ms of networks that did not calibrate the table.
        log_ms: logarithms (sessions, networks) of their measured latencies in ms.
        others: what other models predict, by name.
    """
    ms = truth(log_ms)
    return Validation(
        networks=len(predicted),
        sessions=len(log_ms),
        least_sessions=int((~np.isnan(log_ms)).sum(0).min()),
        predicted=figures(predicted, ms),
        noise=noise(log_ms),
        baselines={name: figures(other, ms) for name, other in others.items()},
    )


def truth(log_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Geometric means (networks,) of the quiet sessions (sessions, networks), in ms."""
    return np.exp(np.nanmean(log_ms, axis=0))


def figures(predicted: NDArray[np.float64], ms: NDArray[np.float64]) -> Figures:
    """Compare predictions (networks,) with measurements (networks,), both in ms."""
    error = predicted / ms - 1
    return Figures(
        mape=float(np.abs(error).mean()),
        within_5=float((np.abs(error) <= 0.05).mean()),
        within_10=float((np.abs(error) <= 0.1).mean()),
        kendall_tau=_tau(predicted, ms),
        bias=float(error.mean()),
    )


def noise(log_ms: NDArray[np.float64]) -> Noise:
    """Noise of the mean of some sessions, over all ways to split them into halves.

    Args:
        log_ms: logarithms (sessions, networks) of ms; NaN where a session does not count.
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
        shares = (error <= 0.05).mean(), (error <= 0.1).mean()
        found.append([error.mean(), *shares, _tau(first, second)])
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
    # Kendall's tau of equal values is undefined: no order was predicted.
    return float(np.nan_to_num(kendalltau(one, other).statistic))
