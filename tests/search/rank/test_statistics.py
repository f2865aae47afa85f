"""Rank statistics against SciPy, closed forms, and simulations with a known answer."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.standalone import judge
from search.rank.statistics import Yardstick, kendall, residuals, spearman

RNG = np.random.default_rng(0)


def simulated(networks, seeds, noise, rng, bands=1):
    """True accuracies, runs with normal noise, and a Yardstick of the runs."""
    truth = rng.normal(size=networks)
    runs = truth[:, None] + noise * rng.normal(size=(networks, seeds))
    members = np.arange(networks) % bands
    return truth, Yardstick(runs, members, rng.random(networks), resamples=400)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
    ("ours", "theirs"), [(kendall, stats.kendalltau), (spearman, stats.spearmanr)]
)
def test_correlations_of_resamples_are_those_of_scipy(ours, theirs, ties):
    x, y = RNG.normal(size=(2, 30))
    if ties:
        x, y = x.round(), y.round()
    chosen = RNG.integers(30, size=(8, 30))
    counts = np.array([np.bincount(row, minlength=30) for row in chosen])
    expected = [theirs(x[row], y[row]).statistic for row in chosen]
    np.testing.assert_allclose(ours(x, y, counts.astype(float)), expected, atol=1e-12)


@pytest.mark.parametrize("statistic", [kendall, spearman])
def test_networks_without_a_score_are_left_out(statistic):
    x, y = RNG.normal(size=(2, 20))
    whole = np.ones((1, 15))
    expected = statistic(x[:15], y[:15], whole)
    x[15:] = math.nan
    np.testing.assert_allclose(statistic(x, y, np.ones((1, 20))), expected)


@pytest.mark.parametrize("statistic", [kendall, spearman])
def test_equal_scores_and_none_rank_nothing(statistic):
    for score in (np.ones(5), np.full(5, math.nan)):
        assert np.isnan(statistic(score, np.arange(5.0), np.ones((1, 5)))).all()


def test_tau_given_cost_vanishes_where_cost_explains_all():
    costs = RNG.lognormal(size=400)
    x, y = np.log(costs) + 0.5 * RNG.normal(size=(2, 400))
    yardstick = Yardstick(y[:, None], np.zeros(400, int), costs)
    assert yardstick.tau(x, yardstick.whole)[0] > 0.5
    found = yardstick.estimate(yardstick.tau_given_cost, x)
    assert found.low < 0 < found.high
    assert abs(found.value) < 0.08
    insight = yardstick.estimate(yardstick.tau_given_cost, x + y)
    assert insight.value > 0.3


def test_residuals_are_uncorrelated_with_cost_and_keep_what_is_unknown():
    costs, values = RNG.lognormal(size=40), RNG.normal(size=40)
    values[3] = math.nan
    left = residuals(values, costs)
    assert np.isnan(left).tolist() == np.isnan(values).tolist()
    for power in (0, 1, 2):
        moment = np.nansum(left * np.where(np.isnan(left), 0, np.log(costs) ** power))
        assert moment == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("noise", [0.3, 0.6, 1.0])
def test_reliability_and_ceilings_are_those_of_the_simulation(noise):
    truth, yardstick = simulated(1500, 3, noise, np.random.default_rng(1))
    reliability = 1 / (1 + noise**2)
    assert yardstick.reliability == pytest.approx(reliability, abs=0.03)
    whole = yardstick.whole
    # A normal pair's tau is 2 / pi * asin(r); the mean of two has noise / sqrt(2).
    r = 1 / math.sqrt((1 + noise**2) * (1 + noise**2 / 2))
    ceiling = yardstick.ceiling(truth, whole)[0]
    assert ceiling == pytest.approx(2 / math.pi * math.asin(r), abs=0.03)
    assert yardstick.perfect_tau(3) == pytest.approx(yardstick.tau(truth, whole)[0], abs=0.03)
    assert yardstick.perfect_tau(2) == pytest.approx(yardstick.left_out(truth, whole)[0], abs=0.03)


def test_the_published_example_of_ceilings_is_met():
    """Two seeds that agree at tau .75 allow .78 to one run and .90 to a perfect scorer."""
    reliability = math.sin(math.pi / 2 * 0.75)
    noise = math.sqrt(1 / reliability - 1)
    truth, yardstick = simulated(1500, 3, noise, np.random.default_rng(2))
    assert yardstick.ceiling(truth, yardstick.whole)[0] == pytest.approx(0.78, abs=0.02)
    assert yardstick.perfect_tau(3) == pytest.approx(0.90, abs=0.02)


@pytest.mark.parametrize("trainings", [1, 2, 4])
def test_a_mean_of_n_fresh_trainings_is_worth_n_trainings(trainings):
    rng = np.random.default_rng(3)
    truth, yardstick = simulated(2000, 3, 0.5, rng)
    score = truth + 0.5 / math.sqrt(trainings) * rng.normal(size=2000)
    tau = yardstick.estimate(yardstick.tau, score).value
    assert yardstick.equivalent_trainings(tau) == pytest.approx(trainings, rel=0.2)


def test_the_ends_of_equivalent_trainings():
    _, yardstick = simulated(200, 3, 0.5, np.random.default_rng(4))
    assert yardstick.equivalent_trainings(-0.2) == 0
    assert yardstick.equivalent_trainings(0.999) == math.inf
    assert math.isnan(yardstick.equivalent_trainings(math.nan))


def test_a_training_as_a_score_reaches_the_ceiling_and_noise_does_not():
    rng = np.random.default_rng(5)
    truth, yardstick = simulated(800, 3, 0.5, rng)
    another = truth + 0.5 * rng.normal(size=800)
    assert yardstick.ratio_to_ceiling(another).value == pytest.approx(1, abs=0.06)
    assert yardstick.ratio_to_ceiling(rng.normal(size=800)).value == pytest.approx(0, abs=0.08)


def test_the_interval_covers_the_true_tau_as_often_as_it_says():
    rng, true_tau, covered = np.random.default_rng(6), 2 / math.pi * math.asin(0.7), []
    for _ in range(120):
        truth, yardstick = simulated(60, 1, 0.0, rng)
        score = 0.7 * truth + math.sqrt(1 - 0.7**2) * rng.normal(size=60)
        found = yardstick.estimate(yardstick.tau, score)
        covered.append(found.low <= true_tau <= found.high)
    assert 0.88 <= np.mean(covered) <= 0.99


def test_resamples_keep_the_number_of_networks_of_each_band():
    bands = np.array([0] * 5 + [1] * 9)
    yardstick = Yardstick(RNG.random((14, 1)), bands, RNG.random(14), resamples=50)
    assert (yardstick.counts[:, :5].sum(1) == 5).all()
    assert (yardstick.counts[:, 5:].sum(1) == 9).all()


def test_a_score_that_only_knows_the_band_ranks_overall_but_not_within():
    rng = np.random.default_rng(7)
    bands = np.arange(90) % 3
    yardstick = Yardstick(bands[:, None] + 0.5 * rng.random((90, 1)), bands, bands + 0.0)
    score = bands + 0.5 * rng.random(90)
    assert yardstick.estimate(yardstick.tau, score).value > 0.6
    within = yardstick.estimate(yardstick.within_bands(yardstick.tau), score)
    assert within.low < 0 < within.high
    parts = [yardstick.estimate(yardstick.tau_in_band(band), score).value for band in range(3)]
    assert within.value == pytest.approx(np.mean(parts))


def test_a_difference_is_paired():
    rng = np.random.default_rng(8)
    truth, yardstick = simulated(60, 3, 0.3, rng)
    score = truth + rng.normal(size=60)
    same = yardstick.difference(yardstick.tau, score, 3 * score + 1)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    better = yardstick.difference(yardstick.tau, truth, score)
    assert better.low > 0
    alone = yardstick.estimate(yardstick.tau, score)
    assert better.high - better.low < 2 * (alone.high - alone.low)


def test_regret_is_what_the_choice_loses():
    truth = np.array([0.5, 0.9, 0.7, 0.8])
    yardstick = Yardstick(truth[:, None], np.zeros(4, int), truth)
    score = np.array([1.0, 0.2, 0.8, 0.1])
    regrets = [yardstick.estimate(yardstick.regret(top), score).value for top in (1, 2, 3, 4)]
    assert regrets == pytest.approx([0.4, 0.2, 0.0, 0.0])
    unknown = np.array([math.nan, 0.2, 0.8, 0.1])
    assert yardstick.estimate(yardstick.regret(1), unknown).value == pytest.approx(0.2)


def test_repetitions_of_a_score_count_with_their_mean():
    truth, yardstick = simulated(50, 1, 0.0, np.random.default_rng(9))
    both = yardstick.estimate(yardstick.tau, np.stack([truth, -truth]))
    assert both.value == pytest.approx(0)
    assert (both.low, both.high) == pytest.approx((-1, 1))


def test_only_the_accurate_half_counts_in_the_top_half():
    truth = np.arange(20.0)
    yardstick = Yardstick(truth[:, None], np.zeros(20, int), truth)
    score = np.concatenate([RNG.permutation(10), 10 + np.arange(10)[::-1]])
    assert yardstick.estimate(yardstick.tau_of_top_half, score).value == pytest.approx(-1)


def test_a_length_passes_only_when_doubling_it_changes_little():
    rng, bands = np.random.default_rng(10), np.arange(20) % 2
    truth = np.linspace(0.6, 0.8, 20)
    runs, doubled = truth[:, None] + 0.002 * rng.normal(size=(2, 20, 2))
    good = judge(runs, doubled, bands)
    assert good.passes
    assert good.spread == pytest.approx(0.18, abs=0.01)
    assert good.median == pytest.approx(0.7, abs=0.01)
    mixed = rng.permutation(doubled)
    wrong = [
        judge(runs, doubled + 0.02, bands),
        judge(runs, mixed, bands),
        judge(runs, None, bands),
        judge(runs + 0.25, doubled + 0.25, bands),
        judge(0.5 + runs / 3, 0.5 + doubled / 3, bands),
        judge(runs + 0.2 * rng.normal(size=(20, 2)), doubled, bands),
    ]
    assert not any(length.passes for length in wrong)
    assert judge(runs, doubled + 0.02, bands).gain == pytest.approx(0.02, abs=0.002)
    assert judge(runs, mixed, bands).tau_doubled < 0.5


def test_noise_limits_how_alike_two_lengths_can_rank():
    rng = np.random.default_rng(2)
    truth = 0.7 + 0.1 * rng.normal(size=2000)
    runs, doubled = (truth[:, None] + 0.05 * rng.normal(size=(2000, 2)) for _ in range(2))
    length = judge(runs, doubled, np.zeros(2000, int))
    assert length.tau_doubled == pytest.approx(length.tau_most, abs=0.02)
    assert 0.6 < length.tau_most < 0.8
