"""Alarms: each of them provoked, and none of a healthy controller."""

import json
import math

import pytest
import torch

from search.controllers.controller import Proposals, Scores, UpdateStep
from search.controllers.settings import ControllerSettings
from search.monitoring.alarms import Alarm, Alarms, keep_alarms
from search.monitoring.health import uniform_uses
from search.step import StepResult
from supernet.errors import UserError
from supernet.space.arch import Restriction
from supernet.space.mnasnet import MnasSpace
from tests.helpers.toys import Toy, generator

SPACE = MnasSpace()
LARGEST = sum(map(math.log, SPACE.decision_sizes))


def update(number, rewards=(0.1, 0.2, 0.3), indices=None, updates=100):
    rewards = torch.tensor(rewards)
    rows = torch.arange(len(rewards))[:, None] if indices is None else torch.tensor(indices)
    scores = Scores(rewards, torch.ones_like(rewards), rewards)
    proposals = Proposals(rows, torch.zeros(len(rows), dtype=torch.long))
    return StepResult(UpdateStep(number, updates), proposals, scores, rewards, {}, 0.0)


def causes(alarms):
    return [alarm.cause for alarm in alarms]


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        ("ppo", "raise model.controller.ppo.entropy or lower its lr"),
        ("tunas", "raise model.controller.tunas.entropy or lower its lr"),
        ("evolution", "raise model.controller.evolution.population"),
    ],
)
def test_a_policy_without_entropy_far_from_the_end_has_collapsed(kind, setting):
    alarms = Alarms(kind)
    assert alarms.of_update(update(30), 0.06 * LARGEST, LARGEST) == []
    (alarm,) = alarms.of_update(update(31), 0.04 * LARGEST, LARGEST)
    assert alarm.cause == "policy collapsed"
    assert "entropy 4.0% of the largest, after 31% of the controller's updates" in alarm.seen
    assert alarm.advice == setting
    assert alarms.of_update(update(32), 0.0, LARGEST) == []


def test_samples_that_are_alike_mean_a_collapsed_policy():
    alike = [[1, 2], [1, 2], [1, 2]]
    (alarm,) = Alarms("ppo").of_update(update(3, indices=alike), 0.5 * LARGEST, LARGEST)
    assert alarm.cause == "policy collapsed"
    assert "all 3 samples of an update are alike" in alarm.seen
    nearly = [[1, 2], [1, 2], [1, 3]]
    assert Alarms("ppo").of_update(update(3, indices=nearly), LARGEST, LARGEST) == []
    assert Alarms("ppo").of_update(update(3, [0.5], [[1, 2]]), LARGEST, LARGEST) == []


def test_a_policy_may_settle_near_the_end_and_a_space_without_choices_at_once():
    alike = [[1, 2], [1, 2], [1, 2]]
    assert Alarms("ppo").of_update(update(75, indices=alike), 0.0, LARGEST) == []
    assert Alarms("ppo").of_update(update(0, indices=alike), 0.0, 0.0) == []


def test_a_reward_that_stays_the_same_for_three_updates_is_constant():
    alarms, level = Alarms("random"), (0.25, 0.25, 0.25)
    found = [alarms.of_update(update(n, level), LARGEST, LARGEST) for n in range(5)]
    assert list(map(causes, found)) == [[], [], ["reward constant"], [], []]
    assert "0.25 for all samples of 3 updates, at a mean score of 25.0%" in found[2][0].seen


def test_rewards_that_differ_within_or_between_updates_are_not_constant():
    within, between = Alarms("ppo"), Alarms("ppo")
    for number in range(9):
        assert within.of_update(update(number, (0.2, 0.201)), LARGEST, LARGEST) == []
        level = 0.2 + 0.01 * (number % 3)
        assert between.of_update(update(number, (level, level)), LARGEST, LARGEST) == []


def test_a_policy_that_has_settled_is_not_told_that_its_reward_is_constant():
    alarms, alike = Alarms("ppo"), [[1], [1], [1]]
    told = []
    for number in range(5):
        told += alarms.of_update(update(number, (0.2,) * 3, alike), 0.0, LARGEST)
    assert causes(told) == ["policy collapsed"]


def test_an_op_that_uniform_sampling_leaves_out_is_dead():
    alarms, found = Alarms("ppo"), []
    assert uniform_uses(SPACE) == dict.fromkeys(SPACE.ops, 7 / 4)
    for step in range(1, 20):
        uses = {"conv": 2 * step, "sepconv": min(step, 6)}
        due = dict.fromkeys(uses, step * 7 / 4)
        found += [(step, alarm.cause) for alarm in alarms.of_uses(uses, due)]
    # Last seen at step 6: 12 steps later 21 uses were due.
    assert found == [(18, "op sepconv unused")]


def test_an_op_that_a_space_hardly_offers_is_not_missed_soon():
    rare = MnasSpace(
        restrictions=tuple(Restriction(b, ops=("sepconv", "mbconv3")) for b in range(1, 7))
    )
    assert uniform_uses(rare)["conv"] == 1 / 4
    assert uniform_uses(rare)["sepconv"] == 6 / 2 + 1 / 4
    alarms = Alarms("ppo")
    for step, dead in ((80, False), (81, True)):
        assert bool(alarms.of_uses({"conv": 0}, {"conv": step / 4})) == dead


@pytest.mark.parametrize("norm", [0.0, math.nan, math.inf])
def test_an_op_without_a_finite_gradient_is_dead(norm):
    alarms = Alarms("ppo")
    assert alarms.of_gradients({"conv": 1e-9, "mbconv6": 1e9}) == []
    (alarm,) = alarms.of_gradients({"conv": 0.1, "mbconv6": norm})
    assert alarm.cause == "op mbconv6 gradient"
    assert f"has norm {norm:g}" in alarm.seen
    assert alarms.of_gradients({"mbconv6": norm}) == []
    assert causes(alarms.of_gradients({"sepconv": norm})) == ["op sepconv gradient"]


def test_what_was_told_and_seen_survives_a_checkpoint():
    constant, alarms = (0.25, 0.25, 0.25), Alarms("ppo")
    alarms.of_gradients({"conv": 0.0})
    alarms.of_uses({"sepconv": 3}, {"sepconv": 3.5})
    for number in range(2):
        alarms.of_update(update(number, constant), LARGEST, LARGEST)
    resumed = Alarms("ppo")
    resumed.load_state_dict(alarms.state_dict())
    assert resumed.of_gradients({"conv": 0.0}) == []
    assert resumed.of_uses({"sepconv": 3}, {"sepconv": 23.0}) == []
    assert causes(resumed.of_uses({"sepconv": 3}, {"sepconv": 23.6})) == ["op sepconv unused"]
    assert causes(resumed.of_update(update(2, constant), LARGEST, LARGEST)) == ["reward constant"]


@pytest.mark.parametrize("kind", ["ppo", "evolution", "random"])
def test_a_healthy_controller_raises_no_alarm(kind):
    torch.manual_seed(0)
    controller = ControllerSettings(kind).build(SPACE.decision_sizes, samples=20, keep=8)
    toy, alarms = Toy.draw(SPACE.decision_sizes, 0, 0.5), Alarms(kind)
    for number in range(30):
        proposals = controller.propose(20, generator(number))
        scores, step = toy.scores(proposals.indices), UpdateStep(number, 30)
        logs = controller.learn(proposals, scores, generator(number), step)
        entropy = sum(value for name, value in logs.items() if name.startswith("decision_"))
        assert entropy <= LARGEST + 1e-3
        of = StepResult(step, proposals, scores, scores.cost, logs, 0.0)
        assert alarms.of_update(of, entropy, LARGEST) == []


def test_alarms_are_kept_once_each_and_those_of_an_earlier_end_are_replaced(tmp_path):
    kept = tmp_path / "alarms.json"
    dead, blind = Alarm("dead", "seen", "look"), Alarm("blind", "seen", "tune")
    keep_alarms(tmp_path, [dead], "steps")
    keep_alarms(tmp_path, [blind], "end")
    first = kept.read_bytes()
    keep_alarms(tmp_path, [dead], "steps")  # as a step that is repeated after a kill
    keep_alarms(tmp_path, [blind], "end")
    assert kept.read_bytes() == first
    told = {"steps": [dead._asdict()], "end": [blind._asdict()]}
    assert json.loads(first) == told
    keep_alarms(tmp_path, [], "end")
    assert json.loads(kept.read_text()) == {**told, "end": []}


@pytest.mark.parametrize("text", ["{", "[]", '{"steps": [{}]}', '{"end": 1}'])
def test_broken_alarms_are_named_and_left_alone(tmp_path, text):
    (tmp_path / "alarms.json").write_text(text)
    with pytest.raises(UserError, match=r"alarms\.json is broken .*move it away"):
        keep_alarms(tmp_path, [], "end")
    assert (tmp_path / "alarms.json").read_text() == text
