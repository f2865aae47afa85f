"""One controller for several targets against one for each, on toys whose cost is known."""

from typing import get_args

import pytest
import torch

from search.controllers.controller import UpdateStep, draw_targets
from search.controllers.evolution import Evolution, RegularisedEvolution
from search.controllers.policy import LstmPolicy
from search.controllers.policy_gradient import Baseline, PolicyGradient, centre
from search.controllers.ppo_and_reinforce import PPO
from search.controllers.settings import ControllerSettings, Kind
from supernet.errors import UserError
from supernet.space.mnasnet import MnasSpace
from tests.helpers.toys import PricedToy, generator

SPACE = MnasSpace()
SMALL = MnasSpace(base_filters=(16, 24), base_layers=(1, 2), strides=(1, 2))
TARGETS = (0.7, 1.0, 1.3)
KINDS = get_args(Kind)


def built(kind, space, targets=1, seed=0):
    torch.manual_seed(seed)
    return ControllerSettings(kind).build(space.decision_sizes, 20, keep=8, targets=targets)


def dedicated(kind, space, toy, updates, samples, seed=0):
    """The rewards of a controller for each target."""
    alone = [toy.learn(built(kind, space, 1, seed), (one,), updates, samples) for one in TARGETS]
    return torch.cat(alone)


def unconditioned(space, seed=0):
    """The default controller with a policy that is not told the target."""
    torch.manual_seed(seed)
    return PolicyGradient(LstmPolicy(space.decision_sizes), PPO(), targets=3)


def gain(kind, space, updates, seeds):
    """How much more one controller for all targets earns than one for each, mean over targets.

    Both learn from 20 samples of each target at a time.
    """
    differences = []
    for seed in range(seeds):
        toy = PricedToy.draw(space.decision_sizes, seed)
        together = toy.learn(built(kind, space, 3, seed), TARGETS, updates, 60)
        differences.append(together - dedicated(kind, space, toy, updates, 20, seed))
    return torch.stack(differences).mean()


@pytest.mark.parametrize(
    "kind", [pytest.param(one, marks=pytest.mark.slow) if one == "ppo" else one for one in KINDS]
)
def test_on_a_small_toy_one_controller_serves_three_targets_like_three(kind):
    # Favourites that are drawn decision by decision vary; those of the LSTM take long. One that
    # were not told the target would earn less by 0.09 or more, of these kinds.
    is_lstm = kind in ("ppo", "reinforce")
    assert gain(kind, SMALL, 40 if is_lstm else 20, seeds=1 if is_lstm else 4) > -0.02


@pytest.fixture(scope="module")
def learned():
    """A toy, the default controller that has learned it, and what its favourites earn."""
    toy, controller = PricedToy.draw(SMALL.decision_sizes, 0), built("ppo", SMALL, 3)
    return toy, controller, toy.learn(controller, TARGETS, 30, 30)


def test_a_policy_that_is_not_told_the_target_serves_one_of_three_at_most(learned):
    toy, _, told = learned
    untold = toy.learn(unconditioned(SMALL), TARGETS, 30, 30)
    assert (told - untold > 0.1).sum() >= 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ppo", "reinforce"])
def test_on_42_decisions_one_lstm_serves_three_targets_like_three(kind):
    assert gain(kind, SPACE, 75, seeds=3) > -0.02


@pytest.mark.slow
def test_on_42_decisions_a_policy_that_is_not_told_the_target_falls_behind():
    toy = PricedToy.draw(SPACE.decision_sizes, 0)
    told = toy.learn(built("ppo", SPACE, 3), TARGETS, 75, 60)
    untold = toy.learn(unconditioned(SPACE), TARGETS, 75, 60)
    assert (told - untold).mean() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_finalists_of_each_target_differ_and_preferences_are_distributions(kind, learned):
    toy, controller, _ = learned
    if kind != "ppo":
        controller = built(kind, SMALL, 3)
        toy.learn(controller, TARGETS, 30, 30)
    best = [controller.finalists(4, generator(0), target) for target in range(3)]
    assert best[0][0].tolist() != best[2][0].tolist()
    for target, codes in enumerate(best):
        log_prob = controller.preferences(codes, target)
        assert log_prob.shape == (len(codes), len(SMALL.decision_sizes), 4)
        torch.testing.assert_close(log_prob.exp().sum(dim=2), torch.ones(log_prob.shape[:2]))


def test_the_policy_prefers_what_it_draws(learned):
    _, controller, _ = learned
    favourite = controller.finalists(0, generator(0), 2)
    assert torch.equal(controller.preferences(favourite, 2).argmax(dim=2), favourite)


def test_random_search_lets_every_architecture_count_for_every_target():
    toy, controller = PricedToy.draw(SMALL.decision_sizes, 0), built("random", SMALL, 3)
    objective = controller.objective = toy.objective(TARGETS)
    proposals = controller.propose(30, generator(0))
    scores = toy.scores(objective, proposals.indices, proposals.targets)
    controller.learn(proposals, scores, generator(0), UpdateStep(0, 1))
    for number in range(3):
        every = toy.scores(objective, proposals.indices, torch.full((30,), number)).reward
        best = proposals.indices[every.argmax()]
        assert torch.equal(controller.finalists(1, generator(0), number)[0], best)


def test_children_of_an_evolution_enter_the_population_of_their_own_target():
    toy = PricedToy.draw(SMALL.decision_sizes, 0)
    torch.manual_seed(0)
    controller = RegularisedEvolution(SMALL.decision_sizes, Evolution(12, 4), 8, targets=3)
    objective = controller.objective = toy.objective(TARGETS)
    for step in range(2):
        proposals = controller.propose(12, generator(step))
        scores = toy.scores(objective, proposals.indices, proposals.targets)
        before = [one.indices.clone() for one in controller.populations]
        controller.learn(proposals, scores, generator(0), UpdateStep(step, 2))
        for number, population in enumerate(controller.populations):
            mine = proposals.indices[proposals.targets == number] if step else proposals.indices
            assert torch.equal(population.indices[-len(mine) :], mine)
            assert torch.equal(population.indices[: -len(mine)], before[number][len(mine) :])


def test_targets_are_drawn_in_equal_numbers_and_follow_from_the_generator():
    drawn = draw_targets(20, 3, generator(0))
    assert sorted(torch.bincount(drawn, minlength=3).tolist()) == [6, 7, 7]
    assert torch.equal(drawn, draw_targets(20, 3, generator(0)))
    others = {tuple(draw_targets(20, 3, generator(seed)).tolist()) for seed in range(9)}
    assert len(others) == 9
    rare = torch.stack(
        [torch.bincount(draw_targets(20, 3, generator(s)), minlength=3) for s in range(60)]
    ).argmin(dim=1)
    assert set(rare.tolist()) == {0, 1, 2}


def test_a_single_target_takes_nothing_from_the_generator():
    one, other = generator(0), generator(0)
    assert draw_targets(5, 1, one).tolist() == [0] * 5
    assert torch.equal(torch.rand(3, generator=one), torch.rand(3, generator=other))


def test_the_baseline_of_each_target_is_its_own():
    baseline, numbers = Baseline(0.5, targets=3), torch.tensor([0, 0, 2, 2])
    rewards = torch.tensor([1.0, 3.0, 10.0, 30.0])
    distances, scale = centre(rewards, baseline, numbers)
    torch.testing.assert_close(distances, torch.tensor([-1.0, 1.0, -10.0, 10.0]))
    torch.testing.assert_close(scale, torch.tensor([1.0, 1.0, 10.0, 10.0]))
    assert baseline.value.isnan().tolist() == [False, True, False]
    centre(torch.tensor([5.0]), baseline, torch.tensor([1]))
    torch.testing.assert_close(baseline.value, torch.tensor([2.0, 5.0, 20.0]))


def test_fewer_samples_than_targets_are_refused():
    with pytest.raises(UserError, match="an update has 2 samples per process for 3 targets: raise"):
        ControllerSettings().build(SMALL.decision_sizes, 2, keep=8, targets=3)
