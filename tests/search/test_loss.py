"""The loss of a search: by labels, by a teacher, and what a tuning is judged by."""

import pytest
import torch
from torch.nn import functional

from search.evaluation.frozen_supernet import tune
from search.loss import Distillation, SearchLoss
from search.settings import WeightOptimizer
from supernet.errors import UserError
from supernet.network.network import Network
from supernet.space.arch import Arch, BlockChoice
from tests.helpers.tiny import SPACE

LOGITS, LABELS = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 4
ANSWERS = 3 * functional.one_hot((LABELS + 1) % 4, 4).float()


def by_teacher(temperature):
    theirs, own = ((one / temperature).softmax(1) for one in (ANSWERS, LOGITS))
    return temperature**2 * (theirs * (theirs.log() - own.log())).sum(1).mean()


def test_without_a_teacher_both_are_of_the_labels():
    found = SearchLoss(0.1)(LOGITS, LABELS)
    expected = functional.cross_entropy(LOGITS, LABELS, label_smoothing=0.1)
    assert torch.equal(found.training, expected)
    assert torch.equal(found.judged, expected)


def test_a_teacher_has_its_share_of_what_is_learned_and_judges_only_if_asked():
    labels, teacher = functional.cross_entropy(LOGITS, LABELS), by_teacher(3.0)
    for judge, expected in (("labels", labels), ("teacher", teacher)):
        loss = SearchLoss(distillation=Distillation(0.25, 3.0, judge))
        found = loss(LOGITS, LABELS, ANSWERS)
        assert torch.isclose(found.training, 0.75 * labels + 0.25 * teacher)
        assert torch.isclose(found.judged, expected)


def test_tunings_learn_by_it_and_tell_what_it_judges_by():
    torch.manual_seed(0)
    images, labels = torch.randn(32, 3, 8, 8), torch.arange(32) % 10
    answers = 9 * functional.one_hot((labels + 1) % 10, 10).float()
    block = BlockChoice("mbconv3", 3, 0.0, "none", 1.0, 0)
    spec = SPACE.spec(Arch((block, block)))

    def course(judge, share=1.0):
        torch.manual_seed(0)
        network, weights = Network(spec), WeightOptimizer()
        learn = SearchLoss(distillation=Distillation(share, 1.0, judge))
        batches = [(images, labels, answers)] * 12
        return tune(network, batches, weights, 12, False, learn=learn)

    own, theirs = course("labels"), course("teacher")
    assert theirs.losses[-1] < theirs.losses[0]
    assert torch.equal(own.accuracies, theirs.accuracies)
    assert course("labels", 0.0).losses[-1] < own.losses[-1]  # which follows a wrong teacher
    assert not torch.isclose(own.losses, theirs.losses).any()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"teacher_share": 2.0}, r"distillation\.teacher_share is 2\.0, .* at most 1"),
        ({"temperature": 0.0}, r"distillation\.temperature is 0\.0, it must be above 0"),
        ({"judged_by": "me"}, r"distillation\.judged_by is 'me', allowed are labels, teacher"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(UserError, match=words):
        Distillation(**settings)
