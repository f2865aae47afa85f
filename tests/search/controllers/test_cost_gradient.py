"""The expected cost and its gradient, against every architecture of small spaces."""

import itertools

import pytest
import torch
from torch.autograd import gradcheck

from search.controllers.controller import Scores, UpdateStep
from search.controllers.cost_gradient import CostGradient, DifferentiableCost
from search.objective.costs import BlockCosts
from search.objective.reward import Reward
from supernet.cost.model import CLOSED_FORMS
from supernet.space.arch import Restriction
from supernet.space.mnasnet import MnasSpace
from tests.helpers.tables import random_table
from tests.helpers.toys import generator, toy_objective

SPACE = MnasSpace(
    ops=("conv", "mbconv3"),
    kernels=(3, 5),
    ses=(0.0,),
    skips=("none", "identity"),
    filters=(0.75, 1.25),
    layers=(0, 1),
    base_filters=(16, 32),
    base_layers=(1, 2),
    restrictions=(Restriction(2, kernels=(3,), ops=("mbconv3",)),),
    strides=(1, 2),
    resolution=16,
    stem_stride=1,
    stem=16,
    head=32,
    classes=10,
)


COSTS = {"params": CLOSED_FORMS["params"], "ms": random_table(SPACE, 0)}
EVERY = torch.tensor(list(itertools.product(*map(range, SPACE.decision_sizes))))


def settled(cost_model, reward=Reward("absolute"), target=1.0):
    """A controller far from uniform."""
    controller = CostGradient(SPACE.decision_sizes, DifferentiableCost(entropy=0.0)).double()
    controller.prepare(toy_objective(reward, target, space=SPACE, cost_model=cost_model))
    with torch.no_grad():
        controller.policy.logits.normal_(generator=generator(1))
    return controller


def costs(cost_model):
    archs = map(SPACE.decode, EVERY.tolist())
    return torch.tensor([cost_model.predict(SPACE.spec(arch)) for arch in archs]).double()


@pytest.mark.parametrize("cost_model", COSTS.values(), ids=COSTS)
def test_the_expected_cost_and_its_gradient_are_those_of_all_architectures(cost_model):
    policy = settled(cost_model).policy
    expected = BlockCosts(SPACE, cost_model).expected(policy.log_probabilities[0].exp())
    summed = (policy.evaluate(EVERY)[0].sum(dim=1).exp() * costs(cost_model)).sum()
    torch.testing.assert_close(expected, summed, rtol=1e-6, atol=0)
    ours, theirs = (
        torch.autograd.grad(one, policy.logits, retain_graph=True)[0] for one in (expected, summed)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6 * float(theirs.abs().max()))
    assert theirs.abs().max() > 0


def test_the_gradient_agrees_with_finite_differences():
    expected_cost = BlockCosts(SPACE, COSTS["ms"]).expected
    policy = settled(COSTS["ms"]).policy

    def cost(logits):
        exists = logits.masked_fill(~policy.exists, -1e9)
        return expected_cost(exists.softmax(-1)[0])

    assert gradcheck(cost, policy.logits)


@pytest.mark.parametrize("kind", ["absolute", "soft", "hard"])
def test_the_update_is_the_gradient_of_the_reward_of_the_expectations(kind):
    """With every architecture scored in its proportion the estimate is exact as well."""
    cost_model, accuracy = COSTS["ms"], torch.rand(len(EVERY), generator=generator(2)).double()
    cost = costs(cost_model)
    target = 0.9 * float(cost.mean())
    controller = settled(cost_model, Reward(kind), target)
    # Uniform logits, so that listing every architecture once is a sample in proportion.
    torch.nn.init.zeros_(controller.policy.logits)
    controller.settings = DifferentiableCost(entropy=0.0, normalise=False, max_grad_norm=1e9)
    probabilities = controller.policy.evaluate(EVERY)[0].sum(dim=1).exp()
    mean_accuracy, mean_cost = (probabilities * accuracy).sum(), (probabilities * cost).sum()
    objective = Reward(kind)(mean_accuracy, mean_cost, target)
    (expected,) = torch.autograd.grad(-objective, controller.policy.logits)
    samples = controller.policy.sample(1, generator(0))
    samples = type(samples)(
        EVERY, torch.zeros(len(EVERY), dtype=torch.long), samples.log_prob, samples.entropy
    )
    scores = Scores(accuracy, cost, Reward(kind)(accuracy, cost, target))
    logs = controller.learn(samples, scores, generator(0), UpdateStep(0, 1))
    torch.testing.assert_close(controller.policy.logits.grad, expected, rtol=1e-5, atol=1e-9)
    assert logs["cost/expected"] == pytest.approx(float(mean_cost.detach()))


def test_with_equal_accuracies_the_policy_settles_at_the_target():
    cost_model = CLOSED_FORMS["macs"]
    space = MnasSpace(resolution=32, stem_stride=1, width=0.35)
    target = 1.2e7
    torch.manual_seed(0)
    controller = CostGradient(space.decision_sizes, DifferentiableCost())
    objective = toy_objective(Reward("absolute"), target, space=space, cost_model=cost_model)
    controller.prepare(objective)
    for step in range(60):
        samples = controller.propose(20, generator(step))
        archs = [space.decode(row) for row in samples.indices.tolist()]
        cost = torch.tensor([cost_model.predict(space.spec(arch)) for arch in archs])
        accuracy = torch.full_like(cost, 0.5)
        scores = Scores(accuracy, cost, Reward("absolute")(accuracy, cost, target))
        logs = controller.learn(samples, scores, generator(step), UpdateStep(step, 60))
        if step == 0:
            assert abs(logs["cost/expected"] / target - 1) > 0.1
    assert logs["cost/expected"] == pytest.approx(target, rel=0.05)
