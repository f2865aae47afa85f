"""Rewards against the numbers of their papers."""

import math

import pytest
import torch
from jsonargparse import ArgumentParser

from search.objective.reward import Reward
from supernet.errors import UserError

TARGET_MS = 80.0
ACCURACY = 0.5


@pytest.mark.parametrize("kind", ["absolute", "soft", "hard"])
def test_at_the_target_the_reward_is_the_accuracy(kind):
    assert Reward(kind)(ACCURACY, TARGET_MS, TARGET_MS) == ACCURACY


def test_doubled_latency_for_five_percent_accuracy_breaks_even_at_the_published_exponent():
    """MnasNet, sec. 3: 1.05 * 2^beta = 1 gives beta = -0.0704, printed as -0.07."""
    break_even = -math.log(1.05) / math.log(2)
    assert break_even == pytest.approx(-0.0704, abs=5e-5)
    reward = Reward("soft", alpha=break_even, beta=break_even)
    assert reward(1.05 * ACCURACY, 2 * TARGET_MS, TARGET_MS) == pytest.approx(ACCURACY)
    published = Reward("soft")
    assert published(1.05, 2 * TARGET_MS, TARGET_MS) == pytest.approx(1.0, abs=5e-4)


@pytest.mark.parametrize(
    ("latency_ms", "soft", "hard"),
    [(20.0, 0.5 * 4**0.07, 0.5), (40.0, 0.5 * 2**0.07, 0.5), (160.0, 0.5 / 2**0.07, 0.25)],
)
def test_product_rewards_follow_figure_3_of_mnasnet(latency_ms, soft, hard):
    """Fig. 3: accuracy 0.5, target 80 ms."""
    assert Reward("soft")(ACCURACY, latency_ms, TARGET_MS) == pytest.approx(soft, rel=1e-12)
    assert Reward("hard")(ACCURACY, latency_ms, TARGET_MS) == pytest.approx(hard, rel=1e-12)


@pytest.mark.parametrize(("latency_ms", "expected"), [(40.0, 0.45), (80.0, 0.5), (120.0, 0.45)])
def test_absolute_reward_penalises_cheap_and_dear_alike(latency_ms, expected):
    assert Reward("absolute")(ACCURACY, latency_ms, TARGET_MS) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["absolute", "soft", "hard"])
def test_above_the_target_a_slower_network_never_earns_more(kind):
    """It would with beta = +1, as some accounts of the paper print the hard reward."""
    costs = torch.linspace(1.0, 3.0, 50) * TARGET_MS
    rewards = Reward(kind)(torch.full((50,), ACCURACY), costs, TARGET_MS)
    assert (rewards.diff() < 0).all()


@pytest.mark.parametrize("kind", ["absolute", "soft", "hard"])
def test_tensors_and_floats_give_the_same_rewards(kind):
    accuracies, costs = [0.1, 0.5, 0.9, 0.7], [20.0, 80.0, 81.0, 300.0]
    tensor = Reward(kind)(torch.tensor(accuracies), torch.tensor(costs), TARGET_MS)
    floats = [Reward(kind)(a, c, TARGET_MS) for a, c in zip(accuracies, costs, strict=True)]
    torch.testing.assert_close(tensor, torch.tensor(floats))


def test_alpha_acts_up_to_the_target_and_beta_above():
    reward = Reward("soft", alpha=-0.5, beta=-2.0)
    assert reward(1.0, 0.25, 1.0) == pytest.approx(2.0)
    assert reward(1.0, 2.0, 1.0) == pytest.approx(0.25)


def test_one_given_exponent_leaves_the_other_as_published():
    assert Reward("hard", beta=-0.15).coefficients == (0.0, -0.15)
    assert Reward("soft", alpha=0.0).coefficients == (0.0, -0.07)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "product"}, r"reward\.kind is 'product', allowed are absolute, soft, hard"),
        ({"alpha": -0.07}, r"reward\.alpha is -0\.07, but kind absolute has none"),
        ({"kind": "hard", "beta": 1.0}, r"reward\.beta is 1\.0, .* at most 0"),
        ({"beta": math.nan}, r"reward\.beta is nan"),
        ({"kind": "soft", "alpha": math.inf}, r"reward\.alpha is inf"),
    ],
)
def test_settings_without_a_meaning_are_refused_by_their_key(fields, message):
    with pytest.raises(UserError, match=message):
        Reward(**fields)


@pytest.mark.parametrize("target", [0.0, -1.0, math.nan])
def test_a_target_that_is_not_positive_is_refused(target):
    with pytest.raises(UserError, match="above 0"):
        Reward()(ACCURACY, TARGET_MS, target)


def test_the_command_line_sets_the_reward():
    parser = ArgumentParser()
    parser.add_argument("--reward", type=Reward, default=Reward())
    arguments = parser.parse_args(["--reward.kind=soft", "--reward.beta=-0.15"])
    assert parser.instantiate_classes(arguments).reward == Reward("soft", beta=-0.15)


@pytest.mark.parametrize("kind", ["absolute", "soft", "hard"])
def test_with_an_exponent_of_zero_cost_is_free(kind):
    free = Reward(kind, alpha=None if kind == "absolute" else 0.0, beta=0.0)
    assert [free(ACCURACY, cost, TARGET_MS) for cost in (20.0, 80.0, 320.0)] == [ACCURACY] * 3


def test_the_steeper_the_exponent_the_nearer_the_target_is_to_a_wall():
    above = [Reward("hard", beta=beta)(ACCURACY, 160.0, TARGET_MS) for beta in (-1, -10, -100)]
    assert above == pytest.approx([ACCURACY * 2.0**beta for beta in (-1, -10, -100)])
    assert Reward("hard", beta=-100.0)(ACCURACY, 79.0, TARGET_MS) == ACCURACY


def test_equal_exponents_make_the_soft_reward_a_power_on_both_sides():
    """MnasNet, eq. 2 with alpha = beta: the reward of a ratio and of its inverse multiply to 1."""
    for ratio in (1.5, 3.0):
        faster, slower = (Reward("soft")(1.0, cost, 1.0) for cost in (1 / ratio, ratio))
        assert faster * slower == pytest.approx(1.0)
