"""Alarms of a search by tunings: they fire when they should, and not by chance."""

import numpy as np
import pytest

from search.surrogate.alarms import (
    BesideCost,
    beside_cost,
    of_finalists,
    of_proposals,
    of_surrogate,
)
from search.surrogate.rounds import Finalist, Label
from search.surrogate.tunings import Tuning


def labelled(explained, seed, slope=0.0, spread=0.01):
    """Inputs, costs and labels of 48 networks, of whose variance inputs explain a share."""
    random = np.random.default_rng(seed)
    inputs, weights = random.normal(size=(48, 14)), random.normal(size=14)
    linear = inputs @ weights
    costs = 1 + spread * random.random(48)
    labels = np.sqrt(explained) * linear / linear.std()
    labels += np.sqrt(1 - explained) * random.normal(size=48) + slope * np.log(costs)
    return inputs, costs, labels


def fired(explained, num=40, **cost):
    alarms = [of_surrogate(beside_cost(*labelled(explained, seed, **cost))) for seed in range(num)]
    return sum(alarm is not None for alarm in alarms) / num


def test_a_blind_surrogate_is_found_out_and_a_good_one_is_not_accused():
    assert fired(0.0) > 0.6
    assert fired(0.2) < 0.35
    assert fired(0.5) == 0


def test_what_the_cost_tells_is_not_the_surrogates():
    """Labels that follow the cost, as an input does: it adds nothing to the cost."""
    random = np.random.default_rng(0)
    costs = np.exp(random.normal(size=48))
    inputs = np.stack([np.log(costs), *random.normal(size=(5, 48))], axis=1)
    labels = np.log(costs) + 0.1 * random.normal(size=48)
    told = beside_cost(inputs, costs, labels)
    assert told.error_of_cost == pytest.approx(0.1, rel=0.3)
    assert told.error == pytest.approx(told.error_of_cost, rel=0.1)
    assert of_surrogate(told) is not None
    assert of_surrogate(beside_cost(inputs, costs, labels + inputs[:, 1])) is None


def test_the_error_of_the_cost_is_that_of_the_mean_where_all_cost_the_same():
    inputs, _, labels = labelled(0.5, 0)
    told = beside_cost(inputs, np.full(48, 2.0), labels)
    assert told.error_of_cost == pytest.approx(labels.std() * 48 / 47)


def test_three_labels_show_nothing():
    inputs, costs, labels = labelled(0.9, 0)
    alarm = of_surrogate(beside_cost(inputs[:3], costs[:3], labels[:3]))
    assert alarm.seen.endswith("tells networks of one cost apart: fewer than 4 networks were tuned")


def test_the_alarm_of_the_surrogate_gives_its_figures_and_a_way_out():
    alarm = of_surrogate(BesideCost(0.0314, 0.032, 0.43))
    assert "left-out error 0.0314 nats, 0.032 by the cost alone" in alarm.seen
    assert "in 85 of 199 shuffles" in alarm.seen
    assert "trainer.max_steps" in alarm.advice
    assert "model.surrogate.networks" in alarm.advice


def label(origin, target, place):
    return Label(Tuning((place, target), 10, 0.0, 0.0), 0, origin, target)


def networks(better, seed, targets=1):
    """36 uniform and 12 proposed networks, ``better`` by so many sd; targets differ by ten."""
    random = np.random.default_rng(seed)
    origins = ["uniform"] * 36 + ["proposed"] * 12
    labels = [label(origin, place % targets, place) for place, origin in enumerate(origins)]
    losses = random.normal(size=48) + [10 * one.target for one in labels]
    losses -= better * np.array([origin == "proposed" for origin in origins])
    return labels, losses.tolist()


def proposals_accused(better, targets):
    """Of 40 searches."""
    return sum(of_proposals(*networks(better, seed, targets)) is not None for seed in range(40))


@pytest.mark.parametrize("targets", [1, 3])
def test_proposals_that_are_better_are_hardly_ever_accused(targets):
    # Below 5 % where they are better by half an sd.
    assert proposals_accused(0.6, targets) < 5
    assert proposals_accused(1.0, targets) == 0
    assert 8 < proposals_accused(0.0, targets) < 32
    assert proposals_accused(-1.0, targets) > 36


def test_the_alarm_of_proposals_gives_its_figures():
    alarm = of_proposals(*networks(-1.0, 0))
    assert "proposed networks are no better than uniform ones" in alarm.seen
    assert "12 and 36 networks" in alarm.seen
    assert "model.surrogate.first" in alarm.advice


def test_two_networks_of_a_kind_accuse_nobody():
    labels, losses = networks(-5.0, 0)
    assert of_proposals(labels[:38], losses[:38]) is None


def finalist(code, target=0):
    return Finalist(Tuning(code, 40, 1.0, 0.5, 0.5), target, -1.0, -1.0)


def test_finalists_that_are_near_copies_are_told():
    alike = [finalist((0,) * 8), finalist((0,) * 7 + (1,)), finalist((0,) * 6 + (1, 1))]
    alarm = of_finalists(alike, "ppo")
    assert "two of them differ in 1.3 of 8 decisions on average" in alarm.seen
    assert "model.final.samples" in alarm.advice
    assert "model.controller.ppo.entropy" in alarm.advice
    assert "entropy" not in of_finalists(alike, "evolution").advice


def test_finalists_that_differ_or_are_of_different_targets_are_not():
    assert of_finalists([finalist((0,) * 8), finalist((1,) * 8)], "ppo") is None
    assert of_finalists([finalist((0,) * 8), finalist((0,) * 8, 1)], "ppo") is None
    assert of_finalists([finalist((0,) * 8)], "ppo") is None
