"""Power of a comparison: how many measurements would tell a difference from 0.

The rule of all closing sentences: a two-sided test at the 5 % level that finds a true difference of
the size that was seen four times in five takes n = ((z(.975) + z(.8)) * s / difference)^2
measurements of standard deviation s (Cohen 1988, "Statistical Power Analysis", ch. 2). The error of
what was seen, of m measurements, stands for s / sqrt(m); for Kendall's tau, too, it falls with the
root of the number (Hoeffding 1948, "A class of statistics with asymptotically normal
distribution", sec. 9).
"""

import math

from scipy import stats

from search.evaluation.estimates import Estimate, cell

LEVEL, POWER = 0.975, 0.8
_ENDS = float(stats.norm.ppf(LEVEL))
ERRORS = _ENDS + float(stats.norm.ppf(POWER))
"""Standard errors that a difference must have to be found so often: 2.80."""
OFTEN = "four times in five"
"""``POWER`` in words."""


def needed(number: float, value: float, error: float) -> int:
    """Measurements that would tell a difference from 0, to two digits, rounded up.

    Args:
        number: of measurements that were made.
        value: the difference that they show, not 0.
        error: its standard error.
    """
    exact = number * (ERRORS * error / abs(value)) ** 2
    step = 10 ** max(0, math.floor(math.log10(max(exact, 1))) - 1)
    return math.ceil(exact / step) * step


def is_told(estimate: Estimate) -> bool:
    """Whether the interval of an estimate leaves 0 out."""
    return estimate.low > 0 or estimate.high < 0


def error_of(estimate: Estimate) -> float:
    """Standard error by the half of an estimate's interval that lies towards 0."""
    near = estimate.low if estimate.value > 0 else estimate.high
    return abs(estimate.value - near) / _ENDS


def tau_sentence(name: str, tau: Estimate, networks: int) -> str:
    """What a ranking of so many networks says of a score, in words.

    Args:
        name: of the score.
        tau: Kendall's, with trainings.
        networks: that were ranked.
    """
    text = f"Kendall's tau {cell(tau)}"
    if math.isnan(tau.value) or tau.value == 0:
        return f"{networks} networks say nothing of {name}: {text}"
    if is_told(tau):
        way = "as trainings do" if tau.value > 0 else "the wrong way round"
        return f"{networks} networks tell that {name} ranks networks {way}: {text}"
    number = needed(networks, tau.value, error_of(tau))
    end = f"{number:,} would, {OFTEN}, if that is its size"
    return f"{networks} networks cannot tell whether {name} ranks networks: {text}; {end}"
