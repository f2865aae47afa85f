"""Rounds on a planted truth: what is tuned, what is learned, and what is chosen from."""

from typing import get_args

import numpy as np
import pytest
import torch

from search.controllers.controller import UpdateStep
from search.controllers.settings import ControllerSettings, Kind
from search.objective.constraints import Limit
from search.objective.costs import BlockCosts
from search.settings import Lengths, SurrogateSettings
from search.step import controller_step
from search.surrogate.gain import gain_of_choice
from search.surrogate.rounds import MEASURED, Rounds, believed
from search.surrogate.surrogate import Surrogate
from supernet.cost.model import CLOSED_FORMS
from tests.helpers.planted import PLAIN, Truth, codes_of, objective_of, search_of
from tests.helpers.toys import generator

KINDS = get_args(Kind)


def built(kind="tunas", targets=1):
    torch.manual_seed(0)
    return ControllerSettings(kind).build(PLAIN.decision_sizes, 20, 65, targets)


def run(objective, truth, kind="tunas", **settings):
    given = {"networks": 16, "first": 8, "rounds": 3, "updates": 4, **settings}
    search = search_of(built(kind, len(objective.targets)), objective, **given)
    rounds = Rounds(search, truth)
    rounds.run()
    return rounds


def assert_hits(objective, number, codes):
    space, target = objective.space, objective.targets[number]
    for code in codes:
        spec = space.spec(space.decode(code))
        assert target.is_hit_by(objective.cost_model.predict(spec))
        for limit in objective.constraints:
            assert limit.costs.model.predict(spec) <= limit.value


def qualities(tuned, surrogate):
    """What is believed of tuned networks, by their codes."""
    predicted = surrogate.values(torch.tensor([one.code for one in tuned])).numpy()
    found = believed(np.array([-one.loss for one in tuned]), predicted)
    return dict(zip([one.code for one in tuned], found.tolist(), strict=True))


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({}, [44, 6, 6]),
        ({"networks": 8, "first": 4}, [4, 2, 2]),
        ({"networks": 9, "first": 4}, [4, 3, 2]),
        ({"networks": 9, "first": 4, "rounds": 1}, [9]),
        ({"networks": 4, "first": 4, "rounds": 2}, [4, 0]),
    ],
)
def test_networks_are_dealt_to_rounds(settings, sizes):
    assert SurrogateSettings(**settings).sizes() == sizes


def test_the_first_networks_are_uniform_and_a_share_of_the_later_ones():
    rounds = run(objective_of(PLAIN, "p50"), Truth(PLAIN), networks=24, first=8)
    origins = [[one.origin for one in rounds.labels if one.round == n] for n in range(3)]
    assert origins[0] == ["uniform"] * 8
    for later in origins[1:]:
        assert (later.count("proposed"), later.count("uniform")) == (6, 2)
    codes = [one.code for one in rounds.labels if one.round < 3]
    assert len(codes) == len(set(codes)) == 24
    assert_hits(rounds.objective, 0, codes)


def test_while_the_regression_tells_nothing_all_networks_are_uniform():
    class Blind(Truth):
        def accuracy(self, code):
            return 0.1

    rounds = run(objective_of(PLAIN, "p50"), Blind(PLAIN))
    assert not rounds.surrogate.ridge.tells
    assert [one.origin for one in rounds.labels if one.round < 3] == ["uniform"] * 16
    assert len(rounds.finalists) == 6


@pytest.fixture(scope="module")
def noisy():
    """Rounds whose labels have as much noise as truth."""
    return run(objective_of(PLAIN, "p50"), Truth(PLAIN, noise=0.1))


def test_the_best_measured_networks_of_all_rounds_are_among_the_finalists(noisy):
    surrogate, tuned = Surrogate(PLAIN), [one.tuning for one in noisy.labels if one.round < 3]
    surrogate.fit(tuned)
    quality = qualities(tuned, surrogate)
    best = sorted(quality, key=lambda code: -quality[code])
    finalists = [one.tuning.code for one in noisy.finalists]
    assert finalists[: -(-6 // MEASURED)] == best[:2]
    assert noisy.tunings.tuned[-1] == (finalists, 4, True)
    assert len(set(finalists)) == 6
    assert_hits(noisy.objective, 0, finalists)


def test_a_finalist_is_judged_by_the_surrogate_and_a_little_by_its_own_tuning(noisy):
    quality = qualities([one.tuning for one in noisy.finalists], noisy.surrogate)
    for one in noisy.finalists:
        assert one.quality == pytest.approx(quality[one.tuning.code])
        (value,) = noisy.surrogate.values(torch.tensor([one.tuning.code])).tolist()
        assert one.predicted == pytest.approx(value)


def test_own_tunings_decide_where_the_surrogate_tells_nothing():
    found = believed(np.array([-2.0, -1.0, -3.0]), np.full(3, -2.5))
    assert found.argsort().tolist() == [2, 0, 1]
    assert found.mean() == pytest.approx(-2.5)


def test_finalists_that_were_tuned_as_long_are_learned_from_once():
    objective = objective_of(PLAIN, "p45", "p50")
    rounds = run(objective, Truth(PLAIN), networks=8, first=6, rounds=2)
    late = [one.code for one in rounds.labels if one.round == 2]
    early = {one.code for one in rounds.labels if one.round < 2}
    finalists = [one.tuning.code for one in rounds.finalists]
    assert late == [code for code in dict.fromkeys(finalists) if code not in early]
    assert len(rounds.surrogate.ridge.labels) == 8 + len(late)


def test_finalists_that_were_tuned_for_longer_are_not_learned_from():
    search = search_of(
        built(), objective_of(PLAIN, "p50"), networks=6, first=4, rounds=2, updates=1
    )
    search.lengths = Lengths(4, 9)
    rounds = Rounds(search, Truth(PLAIN))
    rounds.run()
    assert {one.round for one in rounds.labels} == {0, 1}
    assert rounds.tunings.tuned[-1][1:] == (9, True)


def test_every_target_has_its_networks():
    limit = Limit(BlockCosts(PLAIN, CLOSED_FORMS["params"]), 30_000)
    objective = objective_of(PLAIN, "p20", "p50", "p80", limits=(limit,))
    rounds = run(objective, Truth(PLAIN), networks=18, first=9)
    for number in range(3):
        assert_hits(objective, number, [one.code for one in rounds.labels if one.target == number])
        assert sum(one.target == number and one.round == 0 for one in rounds.labels) == 3
        finalists = [one.tuning.code for one in rounds.finalists if one.target == number]
        assert len(set(finalists)) == 6
        assert_hits(objective, number, finalists)


def test_where_bands_overlap_a_network_is_a_finalist_of_each_target_that_it_hits(monkeypatch):
    objective = objective_of(PLAIN, "p50", 1e9)
    rounds = run(objective, Truth(PLAIN), networks=8, first=6, rounds=2)
    tuned, *_ = rounds.tunings.tuned[-1]
    of_target = [[f.tuning.code for f in rounds.finalists if f.target == n] for n in (0, 1)]
    assert of_target[1] == tuned
    assert of_target[0] == [code for code in tuned if code in of_target[0]]
    assert 6 <= len(of_target[0]) < len(tuned) == len(set(tuned))
    assert_hits(objective, 0, of_target[0])

    # What such a choice gains is beside networks of its own cost, not of all that hit the target.
    beside = []
    monkeypatch.setattr(
        "search.surrogate.gain.expected_gain",
        lambda _, chosen, others, steps: beside.extend(others),
    )
    code = of_target[1][0]
    gain_of_choice(rounds, code, 1)
    costs = objective.costs.of(torch.tensor([code, *beside]))
    assert 0.99 <= float(costs.min() / costs[0]) <= float(costs.max() / costs[0]) <= 1


def test_rounds_are_repeated_to_the_last_bit():
    found = []
    for _ in range(2):
        truth = Truth(PLAIN, noise=0.05)
        rounds = run(objective_of(PLAIN, "p50"), truth, "ppo", rounds=2, updates=2)
        found.append((rounds.labels, rounds.finalists, rounds.surrogate.ridge.weights.tolist()))
    assert found[0] == found[1]


def test_proposals_are_better_than_uniform_networks():
    truth = Truth(PLAIN, noise=0.02)
    rounds = run(objective_of(PLAIN, "p50"), truth, networks=32, first=20, updates=12)
    means = [
        torch.tensor([truth.accuracy(one.code) for one in rounds.labels if one.origin == origin])
        for origin in ("uniform", "proposed")
    ]
    assert means[1].mean() > means[0].mean() + means[0].std()


# --- controllers ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def surrogate():
    """One that has learned from 48 networks."""
    taught = Surrogate(PLAIN)
    taught.fit(Truth(PLAIN, noise=0.02).of(codes_of(PLAIN, 48), 4))
    return taught


@pytest.mark.parametrize("kind", KINDS)
def test_every_controller_learns_from_the_surrogate(kind, surrogate):
    """What it would choose is worth more afterwards; a policy also comes nearer to the target."""
    objective, controller, updates = objective_of(PLAIN, "p50"), built(kind), 40
    controller.prepare(objective)
    (target,) = objective.targets

    def step(number):
        return controller_step(
            controller,
            20,
            surrogate.accuracies,
            UpdateStep(number, updates),
            generator(number),
            generator(1000 + number),
        )

    results = [step(number) for number in range(updates)]
    rewards = torch.stack([one.scores.reward.mean() for one in results])
    uniform = torch.tensor(codes_of(PLAIN, 200, seed=9))
    best = controller.finalists(1, generator(0))[:1]
    expected = objective.rewards(
        surrogate.accuracies(uniform), objective.costs.of(uniform).float(), target.cost, 0.0
    )
    reached = objective.rewards(
        surrogate.accuracies(best), objective.costs.of(best).float(), target.cost, 0.0
    )
    assert float(reached) > float(expected.quantile(0.95))
    if kind == "random":
        return
    assert rewards[-10:].mean() > rewards[:5].mean() + expected.std() / 2
    if kind == "cost_gradient":  # which holds the expected cost, and lets single ones spread
        assert results[-1].logs["cost/expected"] == pytest.approx(target.cost, rel=0.1)
        return
    costs = torch.stack([one.scores.cost for one in results])
    away = (costs / target.cost - 1).abs().mean(dim=1)
    assert away[-10:].mean() < 0.8 * away[:5].mean()
