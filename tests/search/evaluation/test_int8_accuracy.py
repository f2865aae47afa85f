"""Finalists in int8: what they compute, and when they are not asked for."""

import copy

import pytest
import torch

from search.evaluation.int8_accuracy import int8_accuracy
from search.settings import Final, SurrogateSettings, tuning_lengths
from supernet.errors import UserError
from supernet.network.network import Network
from supernet.space.spec import NetSpec
from supernet.space.stage import Stage

SPEC = NetSpec(8, 1, (Stage("mbconv", 3, 3, 0.25, "pool", 12, 2, 2),), 16, 10, 8)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@torch.no_grad()
def test_a_network_in_int8_answers_nearly_as_in_floats():
    torch.manual_seed(0)
    network, images = Network(SPEC), torch.randn(96, 3, 8, 8)
    for _ in range(30):  # running statistics that are those of the images
        network(images)
    answers = network.eval()(images).argmax(1)
    answers[:10] = (answers[:10] + 1) % 10
    before = copy.deepcopy(network.state_dict())
    found = int8_accuracy(
        network,
        lambda number: [(images, answers)] * (number // 96),
        # Batches as large as a user's loader may have them.
        [(images.repeat(15, 1, 1, 1), answers.repeat(15)), (images, answers)],
    )
    assert 0.8 < found <= 0.93, "of 86 right answers in 96, int8 changes a few"
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_slices_are_not_judged_in_int8():
    final = Final(int8=True).settled("accuracy")
    with pytest.raises(
        UserError, match=r"final\.int8 is true, but only with sampling\.score tuned"
    ):
        tuning_lengths(100, "accuracy", SurrogateSettings(), final, 1)
