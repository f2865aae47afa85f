"""What a policy offers at the end of a search."""

import torch

from search.controllers.policy_gradient import OVERSAMPLING
from search.controllers.settings import ControllerSettings
from supernet.space.mnasnet import MnasSpace
from tests.helpers.toys import generator

SMALL = MnasSpace(base_filters=(16, 24), base_layers=(1, 2), strides=(1, 2))


def test_the_likeliest_of_many_samples_follow_the_greedy_choice():
    torch.manual_seed(0)
    controller = ControllerSettings("tunas").build(SMALL.decision_sizes, 4, keep=8)
    with torch.no_grad():
        controller.policy.logits.normal_()
    found = controller.finalists(20, generator(1))
    assert len(found) == 21
    likelihoods = controller.policy.evaluate(found)[0].sum(dim=1).detach()
    assert torch.equal(likelihoods, likelihoods.sort(descending=True).values)
    assert torch.equal(found[0], controller.policy.greedy())
    samples = controller.policy.sample(20 * OVERSAMPLING, generator(1))
    known = dict(
        zip(map(tuple, samples.indices.tolist()), samples.log_prob.sum(dim=1).tolist(), strict=True)
    )
    known.pop(tuple(found[0].tolist()), None)
    best = sorted(known.values(), reverse=True)[:20]
    torch.testing.assert_close(likelihoods[1:], torch.tensor(best))


def test_a_policy_that_has_narrowed_down_offers_what_it_still_draws():
    controller = ControllerSettings("tunas").build(SMALL.decision_sizes, 4, keep=8)
    with torch.no_grad():
        controller.policy.logits[..., 0] = 6.0
    rows = list(map(tuple, controller.finalists(20, generator(1)).tolist()))
    assert rows[0] == (0,) * len(SMALL.decision_sizes)
    assert 5 < len(rows) == len(set(rows)) <= 21


def test_no_samples_are_needed_for_the_greedy_choice_alone():
    controller = ControllerSettings("tunas").build(SMALL.decision_sizes, 4, keep=8)
    assert len(controller.finalists(0, generator(0))) == 1
