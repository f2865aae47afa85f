"""How well scores rank networks whose stand-alone trainings differ from seed to seed.

Every figure has a bootstrap interval over networks, drawn within bands as the networks were.
A resample is held as counts: how often each network is in it. So a statistic of thousands of
resamples is a few matrix products.
"""

import math
from collections.abc import Callable
from functools import cached_property

import numpy as np

from search.evaluation.estimates import UNKNOWN, Estimate

Array = np.ndarray
Statistic = Callable[[Array, Array], Array]
"""Values (B,) of a score (N,) in resamples, which are counts (B, N)."""


def kendall(x: Array, y: Array, counts: Array) -> Array:
    """Kendall's tau-b in each resample; networks whose score is NaN are left out.

    Args:
        x: (N,).
        y: (N,).
        counts: (B, N).

    Returns:
        (B,); NaN where all of either are equal.
    """
    x, counts = _without_nan(x, counts)
    signs_x, signs_y = (np.sign(one[:, None] - one) for one in (x, y))

    def pairs(signs: Array) -> Array:
        return ((counts @ signs) * counts).sum(1)

    return _ratio(pairs(signs_x * signs_y), np.sqrt(pairs(signs_x**2) * pairs(signs_y**2)))


def spearman(x: Array, y: Array, counts: Array) -> Array:
    """Spearman's rho in each resample; arguments and result as for ``kendall``."""
    x, counts = _without_nan(x, counts)
    total = np.maximum(counts.sum(1, keepdims=True), 1)  # a resample may hold none with a score

    def centred_ranks(values: Array) -> Array:
        above = (values[:, None] > values) + 0.5 * (values[:, None] == values)
        ranks = counts @ above.T
        return ranks - (counts * ranks).sum(1, keepdims=True) / total

    ranks_x, ranks_y = centred_ranks(x), centred_ranks(y)
    norm = np.sqrt((counts * ranks_x**2).sum(1) * (counts * ranks_y**2).sum(1))
    return _ratio((counts * ranks_x * ranks_y).sum(1), norm)


def residuals(values: Array, costs: Array) -> Array:
    """What a square polynomial of the logarithm of the costs leaves of values (N,); NaN stays."""
    known, logs = ~np.isnan(values), np.log(costs)
    powers = np.vander((logs - logs.mean()) / max(logs.std(), 1e-12), 3)
    weights = np.linalg.lstsq(powers[known], values[known], rcond=None)[0]
    return values - powers @ weights


def _without_nan(x: Array, counts: Array) -> tuple[Array, Array]:
    return np.nan_to_num(x), counts * ~np.isnan(x)


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 1e-12)


class Yardstick:
    """N networks with S trainings each, and how well a score ranks them."""

    def __init__(
        self, runs: Array, bands: Array, costs: Array, resamples: int = 2000, seed: int = 0
    ) -> None:
        """Draw the resamples.

        Args:
            runs: (N, S) accuracies, one column for each seed.
            bands: (N,) number of each network's band, from 0.
            costs: (N,) cost of each network.
            resamples: B, how many.
            seed: of the resamples.
        """
        self.runs, self.bands, self.costs = runs, bands, costs
        self.truth: Array = runs.mean(1)
        """Mean accuracy of each network over its seeds, (N,)."""
        self.whole = np.ones((1, len(runs)))
        self.counts = np.zeros((resamples, len(runs)))
        rng = np.random.default_rng(seed)
        for band in range(self.num_bands):
            members = np.flatnonzero(bands == band)
            even = np.full(len(members), 1 / max(1, len(members)))
            self.counts[:, members] = rng.multinomial(len(members), even, resamples)

    @property
    def num_bands(self) -> int:
        """Bands of cost."""
        return int(self.bands.max()) + 1

    @property
    def num_seeds(self) -> int:
        """Trainings of each network."""
        return self.runs.shape[1]

    def estimate(self, statistic: Statistic, score: Array) -> Estimate:
        """A statistic of a score (N,), or of repetitions of it (R, N), of which it is the mean."""
        value, draws = self._draws(statistic, score)
        return _interval(value, draws)

    def difference(self, statistic: Statistic, score: Array, other: Array) -> Estimate:
        """How much more of a statistic one score has than another, paired by resample."""
        (one, draws), (two, others) = (self._draws(statistic, s) for s in (score, other))
        return _interval(one - two, draws - others)

    def ratio_to_ceiling(self, score: Array, within: bool = False) -> Estimate:
        """Tau of a score over that of one training, both against the mean of the other seeds."""
        both: list[Statistic] = [self.left_out, self.ceiling]
        statistic, ceiling = map(self.within_bands, both) if within else both
        value, draws = self._draws(statistic, score)
        one = _ratio(np.array([value]), ceiling(self.truth, self.whole))[0]
        return _interval(one, _ratio(draws, ceiling(self.truth, self.counts)))

    def _draws(self, statistic: Statistic, score: Array) -> tuple[float, Array]:
        repetitions, draws = np.atleast_2d(score), np.empty(len(self.counts))
        values = np.array([statistic(one, self.whole)[0] for one in repetitions])
        for number, one in enumerate(repetitions):
            rows = slice(number, None, len(repetitions))
            draws[rows] = statistic(one, self.counts[rows])
        known = values[~np.isnan(values)]
        return float(known.mean()) if len(known) else math.nan, draws

    # --- statistics of a score ----------------------------------------------------------------

    def tau(self, score: Array, counts: Array) -> Array:
        """Kendall's tau with the mean of all seeds."""
        return kendall(score, self.truth, counts)

    def rho(self, score: Array, counts: Array) -> Array:
        """Spearman's rho with the mean of all seeds."""
        return spearman(score, self.truth, counts)

    def tau_in_band(self, band: int) -> Statistic:
        """Tau among the networks of one band."""
        return lambda score, counts: self.tau(score, counts * (self.bands == band))

    def within_bands(self, statistic: Statistic) -> Statistic:
        """Mean over the bands of a statistic of the networks of each."""
        members = [self.bands == band for band in range(self.num_bands)]
        return lambda score, counts: np.mean([statistic(score, counts * one) for one in members], 0)

    def tau_of_top_half(self, score: Array, counts: Array) -> Array:
        """Tau among the more accurate half of the networks."""
        return self.tau(score, counts * (self.truth >= np.median(self.truth)))

    def tau_given_cost(self, score: Array, counts: Array) -> Array:
        """Tau of what cost leaves unexplained in score and accuracy, in the manner of a partial.

        Kendall's own partial tau stays above 0 for a score that knows nothing but the cost and
        noise. The regressions are fitted once, to all networks.
        """
        left = residuals(self.truth, self.costs)
        return kendall(residuals(score, self.costs), left, counts)

    def left_out(self, score: Array, counts: Array) -> Array:
        """Tau with the mean of all seeds but one, mean over which one is left out."""
        return np.mean([kendall(score, y, counts) for _, y in self._splits], axis=0)

    def ceiling(self, _: Array, counts: Array) -> Array:
        """The noise ceiling: tau of one training with the mean of the other seeds."""
        return np.mean([kendall(x, y, counts) for x, y in self._splits], axis=0)

    def regret(self, top: int) -> Statistic:
        """Accuracy of the best network less that of the best among a score's ``top`` highest."""
        return lambda score, counts: np.array([self._regret(score, row, top) for row in counts])

    def _regret(self, score: Array, counts: Array, top: int) -> float:
        present = np.flatnonzero((counts > 0) & ~np.isnan(score))
        if not len(present):
            return math.nan
        chosen = present[np.argsort(-score[present], kind="stable")][:top]
        return float(self.truth[present].max() - self.truth[chosen].max())

    @cached_property
    def _splits(self) -> list[tuple[Array, Array]]:
        """Each seed's accuracies and the mean of the others'."""
        runs, seeds = self.runs, range(self.num_seeds)
        return [(runs[:, seed], np.delete(runs, seed, 1).mean(1)) for seed in seeds]

    # --- what noise hides ---------------------------------------------------------------------

    @cached_property
    def reliability(self) -> float:
        """Share of the variance of one training's accuracy that is the network's: ICC(1).

        Shrout and Fleiss 1979, "Intraclass correlations", case 1.
        """
        seeds = self.num_seeds
        within = self.runs.var(1, ddof=1).mean()
        between = seeds * self.truth.var(ddof=1)
        return float(max(0.0, (between - within) / (between + (seeds - 1) * within)))

    def reliability_of_mean(self, trainings: float) -> float:
        """Reliability of the mean of several trainings (Spearman and Brown 1910)."""
        return trainings * self.reliability / (1 + (trainings - 1) * self.reliability)

    def perfect_tau(self, trainings: int) -> float:
        """Tau that the networks' true accuracies would have with the mean of as many trainings.

        For normal accuracies, where tau is 2 / pi * asin(correlation).
        """
        return 2 / math.pi * math.asin(math.sqrt(self.reliability_of_mean(trainings)))

    def equivalent_trainings(self, tau: float) -> float:
        """How many trainings per network, averaged, would have this tau with all seeds' mean.

        The trainings are fresh ones, not among the seeds; accuracies are taken as normal. Infinite
        where only the true accuracies would rank as well.
        """
        one, mean = self.reliability, self.reliability_of_mean(self.num_seeds)
        if math.isnan(tau) or not mean:
            return math.nan
        squared = math.sin(math.pi / 2 * max(tau, 0.0)) ** 2 / mean
        return squared * (1 - one) / (one * (1 - squared)) if squared < 1 else math.inf


def _interval(value: float, draws: Array) -> Estimate:
    known = draws[~np.isnan(draws)]
    if math.isnan(value) or not len(known):
        return UNKNOWN
    low, high = np.quantile(known, [0.025, 0.975])
    return Estimate(float(value), float(low), float(high))
