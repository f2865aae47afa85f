"""Synflow against its closed form, and its cache."""

import dataclasses
import json
import math

import pytest
import torch

from search.rank.networks import uniform_group
from search.rank.scores import synflow, synflow_scores
from supernet.cost.model import CLOSED_FORMS
from supernet.network.network import Network
from supernet.space.arch import Arch, BlockChoice
from tests.helpers.tiny import SPACE


def plain(op, se=0.0):
    block = BlockChoice(op, 3, se, "none", 1.0, 0)
    return SPACE.spec(Arch((block, block)))


def flow(spec, seed):
    """The summed logits of an image of ones under positive weights and no norm."""
    torch.manual_seed(seed)
    network = Network(spec).double().eval()
    for parameter in network.parameters():
        parameter.data.abs_()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.0  # with fresh statistics the identity
    with torch.no_grad():
        ones = torch.ones(1, 3, 8, 8, dtype=torch.float64)
        return float(network(ones).sum())


@pytest.mark.parametrize(("op", "layers"), [("conv", 1), ("sepconv", 2), ("mbconv6", 3)])
def test_without_gates_and_shortcuts_it_is_the_flow_times_the_number_of_weight_tensors(op, layers):
    """The flow is linear in each weight tensor, so that each contributes all of it."""
    tensors = 3 + 2 * layers
    assert synflow(plain(op), 4) == pytest.approx(math.log(tensors * flow(plain(op), 4)))


def test_it_follows_from_the_seed_and_grows_with_the_width():
    state = torch.get_rng_state()
    assert synflow(plain("conv"), 1) == synflow(plain("conv"), 1)
    assert synflow(plain("conv"), 1) != synflow(plain("conv"), 2)
    assert torch.equal(torch.get_rng_state(), state)
    wider = dataclasses.replace(SPACE, width=2.0).spec(
        Arch((BlockChoice("conv", 3, 0.25, "pool", 1.0, 0),) * 2)
    )
    assert math.isfinite(synflow(wider))
    assert synflow(wider) > synflow(plain("conv", se=0.25))


def test_scores_are_kept_by_network(tmp_path):
    networks = uniform_group(SPACE, CLOSED_FORMS["macs"], 4, 2, seed=0).networks
    path = tmp_path / "zero-cost.jsonl"
    scores = synflow_scores(networks[:3], path)
    assert scores.tolist() == [synflow(one.spec) for one in networks[:3]]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 3
    path.write_text("".join(json.dumps({**row, "value": 7.0}) + "\n" for row in rows))
    assert synflow_scores(networks, path).tolist() == [7.0] * 3 + [synflow(networks[3].spec)]
