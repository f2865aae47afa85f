"""Optimizers: the fused way changes nothing but the time."""

import pytest
import torch
from timm.optim import create_optimizer_v2
from torch import nn

from supernet.training.recipe import EXACT_FOREACH, make_optimizer


def trained(create) -> list[torch.Tensor]:
    """Parameters of channels-last convolutions after three steps on fixed images."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten())
    network = network.to(memory_format=torch.channels_last)
    optimizer = create(network)
    images = torch.randn(8, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    for _ in range(3):
        network(images).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return list(network.parameters())


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_fused_steps_are_the_loop_s(name):
    settings = {"lr": 1e-2, "weight_decay": 0.05}
    fused = trained(lambda network: make_optimizer(network, name, **settings))
    loop = trained(lambda network: create_optimizer_v2(network, name, foreach=False, **settings))
    for one, other in zip(fused, loop, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", EXACT_FOREACH)
def test_steps_over_lists_are_the_loop_s_to_the_bit(name):
    settings = {"lr": 1e-2, "weight_decay": 0.05, "momentum": 0.9}
    lists = trained(lambda network: make_optimizer(network, name, **settings))
    loop = trained(lambda network: create_optimizer_v2(network, name, foreach=False, **settings))
    for one, other in zip(lists, loop, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("name", "fused"), [("adamw", True), ("rmsproptf", False)])
def test_what_has_a_fused_way_takes_it(name, fused):
    optimizer = make_optimizer(nn.Linear(2, 2), name, lr=0.1)
    assert bool(optimizer.defaults.get("fused")) is fused


def test_an_unknown_optimizer_is_a_value_error():
    with pytest.raises(ValueError, match="nonsense"):
        make_optimizer(nn.Linear(2, 2), "nonsense", lr=0.1)
