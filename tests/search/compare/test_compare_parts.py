"""What search.compare is made of: history, hypervolumes, random networks, costs."""

import dataclasses
import random

import pytest
import torch
from scipy import stats

from search.compare.report import conclusion
from search.compare.retrained import COST_DISTANCE, Choice, ChoiceResult, _best, random_alike
from search.compare.trials import History, hypervolume, rescored_front
from search.controllers.controller import Scores
from search.monitoring.compute import Spending, Spent
from search.monitoring.health import Health
from search.selection.selection import Candidate, front
from supernet.cost.counts import count
from supernet.errors import UserError
from tests.helpers.tiny import MACS, SPACE

# History


def scores(accuracy, cost, reward):
    return Scores(*map(torch.tensor, (accuracy, cost, reward)))


def test_half_of_the_best_are_favourites_and_half_scored_best_on_average():
    history = History()
    codes = [(number,) for number in range(6)]
    history.add(codes, scores([0.1] * 6, [1.0] * 6, [0.1, 0.2, 0.3, 0.4, 0.5, 0.9]))
    history.add([(5,)], scores([0.1], [1.0], [0.0]))  # mean .45
    favourites = [(9,), (9,), (4,), (8,)]
    assert history.best(favourites, 4) == [(9,), (4,), (5,), (3,)]
    assert history.best(favourites, 1) == [(9,)]
    assert history.best([], 2) == [(4,), (5,)]
    assert history.best(favourites, 99)[:2] == [(9,), (4,)]
    assert len(history.best(favourites, 99)) == 8


def test_history_is_the_mean_of_all_meetings():
    history = History()
    history.add([(0,), (1,)], scores([0.25, 0.5], [1.0, 3.0], [0.0, 0.0]))
    history.add([(0,)], scores([0.75], [1.0], [0.0]))
    assert [(one.cost, one.accuracy) for one in history.candidates()] == [(1.0, 0.5), (3.0, 0.5)]
    assert list(history.within(2.0).records) == [(0,)]


def test_the_hypervolume_is_the_area_up_to_the_reference_point():
    assert hypervolume([(1.0, 0.5)], cost=3.0, accuracy=0.1) == pytest.approx(2 * 0.4)
    front = [(1.0, 0.5), (2.0, 0.9)]
    assert hypervolume(front, 3.0, 0.1) == pytest.approx(0.4 + 0.8)
    dominated = [*front, (2.5, 0.6), (4.0, 1.0), (0.5, 0.05)]
    assert hypervolume(dominated, 3.0, 0.1) == pytest.approx(0.4 + 0.8)
    assert hypervolume([], 3.0, 0.1) == 0


@pytest.mark.parametrize("distinct", [100, 400, 1000, 2000])
def test_on_pure_noise_the_hypervolume_is_the_same_however_many_networks_were_met(distinct):
    """All are truly right on 60 % of images, where chance is 10 %: five ninths of the most."""
    rng, history = random.Random(distinct), History()
    costs = [1.0, *(rng.uniform(1.0, 3.0) for _ in range(distinct - 1))]
    for number in range(2000):
        place = number % distinct
        history.add([(place,)], scores([rng.gauss(0.6, 0.04)], [costs[place]], [0.0]))
    truth = (3.0 - 1.0) * 0.5
    by_luck = [(one.cost, one.accuracy) for one in front(history.candidates())]
    assert hypervolume(by_luck, 3.0, 0.1) > 1.02 * truth
    # 2,000 validation images: sd .011 of the second judgement.
    points = rescored_front(
        history.candidates(), lambda code: Candidate(code, costs[code[0]], rng.gauss(0.6, 0.011), 0)
    )
    assert points == sorted(points)
    assert hypervolume(points, 3.0, 0.1) == pytest.approx(truth, rel=0.04)


def test_networks_that_lose_their_place_when_judged_again_leave_the_front():
    met = [Candidate((n,), float(n), 0.1 * n, 0.0) for n in (3, 1, 2)]
    again = {(1,): 0.5, (2,): 0.4, (3,): 0.9}
    points = rescored_front(met, lambda code: Candidate(code, float(code[0]), again[code], 0.0))
    assert points == [(1.0, 0.5), (3.0, 0.9)]


# Random networks of the same cost


def choice(seed=0, number=0, spent=None):
    arch = SPACE.canonical(SPACE.sample(random.Random(seed)))
    return Choice("searches", f"run {seed}", number, SPACE, arch, MACS, spent)


def test_random_networks_have_nearly_the_cost_of_the_choice_and_differ():
    one = choice()
    specs = random_alike(one, 8)
    assert len(set(specs)) == 8
    assert one.spec not in specs
    assert all(abs(count(spec).macs / one.cost - 1) <= COST_DISTANCE for spec in specs)
    assert random_alike(one, 3) == specs[:3]
    assert random_alike(choice(number=1), 8) != specs


def test_a_space_without_such_networks_is_named():
    fixed = dataclasses.replace(
        SPACE, ops=("conv",), kernels=(3,), ses=(0.0,), skips=("none",), filters=(1.0,)
    )
    one = dataclasses.replace(choice(), space=fixed, arch=fixed.canonical(fixed.decode([0] * 12)))
    with pytest.raises(UserError, match=r"only 0 of 2 .* of run 0: ask for fewer by --random"):
        random_alike(one, 2)


def test_the_best_random_network_is_picked_by_validation_images():
    rows = [
        {"val": 0.8, "val_loss": 0.5, "test": 0.9},
        {"val": 0.9, "val_loss": 0.5, "test": 0.1},
        {"val": 0.9, "val_loss": 0.4, "test": 0.2},
    ]
    specs = random_alike(choice(), 3)
    assert _best(specs, rows) == specs[2]


def test_a_comparison_pairs_seeds_with_the_best_and_not_with_the_mean():
    row = {"image_macs": 10.0, "cpu_seconds": 2.0}
    spent = Spent(image_macs=30.0, seconds=9.0, cpu_seconds=5.0)
    random_runs, found, best = [0.5, 0.6, 0.7], [0.80, 0.90], [0.79, 0.89]
    one = ChoiceResult(choice(spent=spent), random_runs, found, best, row)
    assert one.less_best.estimate.low == pytest.approx(0.01)
    welch = stats.ttest_ind(found, random_runs, equal_var=False).confidence_interval()
    assert one.less_mean.estimate.low == pytest.approx(welch.low)
    assert one.trainings_spent == {"by MACs": pytest.approx(3.0), "by seconds": 2.5}


# What a search spends


def result(found, random_runs=(0.5, 0.52, 0.48), group="group"):
    one = dataclasses.replace(choice(), group=group)
    return ChoiceResult(one, random_runs, found, (0.5,) * len(found), {})


SEARCHES = [result((x,), group="searches") for x in (0.5, 0.53, 0.56)]


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([], ""),
        ([result((0.7, 0.71, 0.72))], "21 [16.8 25.2] points beyond random networks of its cost"),
        ([result((0.7, 0.71, 0.72))], "a gain that is more than chance"),
        ([result((0.2, 0.21, 0.22))], "a loss that is more than chance"),
        ([result((0.5, 0.51, 0.56))], "chance; 7 times as many trainings would tell it from 0"),
        ([result((0.5,))], "of a single one nothing is told, take more seeds"),
        (SEARCHES, "3 searches: 3.00 [-4.45 10.5] points beyond random networks of their cost"),
        (SEARCHES, "may be chance; 8 searches would tell it from 0, four times in five"),
    ],
)
def test_a_comparison_ends_with_what_it_comes_to(results, words):
    sentence = conclusion([], results)
    assert words in sentence
    assert bool(sentence) == bool(results)


def test_trials_end_with_the_first_controller_beside_random_search():
    rewards = {"random": (0.5, 0.5, 0.5), "ppo": (0.6, 0.61, 0.62)}
    trials = {kind: [{"best_reward": one} for one in own] for kind, own in rewards.items()}
    sentence = conclusion([trials], [])
    assert sentence.startswith("3 trials of ppo: 11 [8.52 13.5] points of reward beyond random")
    assert conclusion([{"ppo": trials["ppo"]}], []) == ""


def test_an_image_that_is_only_run_counts_a_third():
    spent = Spent(image_macs=60.0, seconds=1.0, cpu_seconds=2.0).plus_scoring(9.0, 0.5)
    assert spent == Spent(63.0, 1.5, 2.5)
    assert Spent(60.0).plus_scoring(9.0, 0.5) == Spent(63.0)


def test_spending_goes_on_from_a_checkpoint_and_adds_the_end():
    health = Health()
    health.ops, health.totals = ("conv",), torch.tensor([5, 600])
    spending, arch = Spending(lambda: health.image_macs), SPACE.decode([0] * 12)
    spending.load_state_dict({"seconds": 3.0, "cpu_seconds": 4.0})
    spending.on_fit_start(None, None)
    spending.score(SPACE, [arch, arch], 30)
    spent = spending.spent
    assert spent.image_macs == 600 + 2 * 30 * count(SPACE.spec(arch)).macs / 3
    assert spent.seconds >= 3
    assert spent.cpu_seconds >= 4
    told = {"Health": {"image_macs": 600}, "Spending": {"seconds": 3.0, "cpu_seconds": 4.0}}
    assert Spent.of({"callbacks": told}) == Spent(600, 3.0, 4.0)
    assert Spent.of({"callbacks": {"Health": {"image_macs": 600}}}) == Spent(600)
    assert Spent.of({"callbacks": {}}) is None
