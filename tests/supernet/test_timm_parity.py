"""Published networks are timm's at every width, and timm alone builds what its blocks can do."""

import dataclasses
import random

import pytest
import timm
import torch
from timm.models._efficientnet_builder import decode_arch_def
from torch import nn

from supernet.cost.counts import count
from supernet.errors import UserError
from supernet.network.network import Network, recalibrate
from supernet.space.mnasnet import MnasSpace
from supernet.space.published import published, published_spec
from supernet.space.spec import NetSpec
from supernet.timm_arch import timm_arch_def, timm_names, timm_network

NAMES = timm_names()
SMALL = MnasSpace(width=0.5, head=32, resolution=64, classes=7)
"""Half as wide as the paper's, with every op, kernel and skip."""


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@torch.no_grad()
def randomise(network, side):
    """Statistics near those of random images, and scales that drive ReLU6 into its limit."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.uniform_(1, 4)
        norm.bias.normal_(std=0.1)
    recalibrate(network, [torch.randn(4, 3, side, side)])
    for norm in norms:
        norm.running_mean += 0.1 * torch.randn_like(norm.running_mean) * norm.running_var.sqrt()
        norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.5, 2)
    return network.eval()


@torch.no_grad()
def difference(one, other, side):
    """Largest difference of a logit over the largest logit."""
    images = torch.randn(2, 3, side, side)
    ours, theirs = one.eval()(images), other.eval()(images)
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def loaded(spec, weights):
    network = Network(spec)
    network.load_state_dict(weights)
    return network


def test_every_width_that_timm_registers_has_a_name_of_ours():
    patterns = ["mnasnet_*", "semnasnet_*", "mobilenetv2_*"]
    assert set(timm.list_models(patterns)) - {"mnasnet_searched"} == set(NAMES.values())
    assert len(NAMES) == 16
    assert NAMES["mnasnet_a1"] == "semnasnet_100"
    assert NAMES["mnasnet_b1_140"] == "mnasnet_140"
    assert NAMES["mobilenet_v2_110d"] == "mobilenetv2_110d"


@pytest.mark.parametrize("name", NAMES)
def test_timms_weights_give_timms_logits_at_every_width(name):
    reference = randomise(timm.create_model(NAMES[name]), 96)
    spec = published_spec(name)
    network = loaded(spec, reference.state_dict())
    assert difference(network, reference, 96) <= 1e-5
    params = sum(parameter.numel() for parameter in reference.parameters())
    assert count(spec).params == sum(p.numel() for p in network.parameters()) == params
    # The other way round as well: what we train is timm's.
    reference.load_state_dict(network.state_dict())


@pytest.mark.parametrize("name", published)
def test_epsilon_and_activation_of_the_published_networks_matter(name):
    reference = randomise(timm.create_model(NAMES[name]), 96)
    spec, weights = published_spec(name), reference.state_dict()
    other = "relu" if spec.activation == "relu6" else "relu6"
    for change in ({"bn_eps": 1e-3}, {"activation": other}):
        wrong = loaded(dataclasses.replace(spec, **change), weights)
        assert difference(wrong, reference, 96) > 1e-3


def spec_for_timm(rng):
    """A network of the small space out of what timm has: no pooling, no gate on a convolution."""
    blocks = [
        dataclasses.replace(
            block,
            skip="identity" if block.skip == "pool" else block.skip,
            se=0.0 if block.op == "conv" else block.se,
        )
        for block in SMALL.sample(rng).blocks
    ]
    return SMALL.spec(dataclasses.replace(SMALL.sample(rng), blocks=tuple(blocks)))


def test_timm_alone_builds_every_network_that_its_blocks_can_do():
    rng, seen = random.Random(0), set()
    for number in range(12):
        spec = spec_for_timm(rng)
        if number % 2:
            spec = dataclasses.replace(spec, activation="relu6", bn_eps=1e-5)
        network = randomise(Network(spec), 64)
        theirs = timm_network(spec)
        theirs.load_state_dict(network.state_dict())
        assert difference(theirs, network, 64) <= 1e-5
        seen |= {(layer.op, layer.expand, layer.skip, bool(layer.se)) for layer in spec.layers()}
    for op, expand, gates in (
        ("conv", 1, [False]),
        ("sepconv", 1, [False, True]),
        ("mbconv", 3, [False, True]),
        ("mbconv", 6, [False, True]),
    ):
        for gate in gates:
            assert {(op, expand, skip, gate) for skip in ("none", "identity")} <= seen


def test_training_in_timms_network_moves_as_in_ours():
    spec = spec_for_timm(random.Random(1))
    network = Network(spec)
    theirs = timm_network(spec)
    theirs.load_state_dict(network.state_dict())
    images = torch.randn(4, 3, 64, 64)
    for one in (network.train(), theirs.train()):
        one(images).square().mean().backward()
    torch.testing.assert_close(theirs.conv_stem.weight.grad, network.conv_stem.weight.grad)
    norms = [dict(one.named_buffers())["blocks.3.0.bn1.running_var"] for one in (network, theirs)]
    torch.testing.assert_close(*norms)


@pytest.mark.parametrize("name", published)
def test_the_arch_def_of_a_published_network_builds_timms_own(name):
    own = timm_network(published_spec(name))
    reference = timm.create_model(NAMES[name])
    own.load_state_dict(randomise(reference, 64).state_dict())
    assert difference(own, reference, 64) == 0
    assert [level["module"] for level in own.feature_info] == [
        level["module"] for level in reference.feature_info
    ]


def test_an_arch_def_is_plain_strings_one_stack_to_a_stage():
    strings = timm_arch_def(published["mnasnet_small"])
    assert strings[3] == ["ir_r4_k5_s2_e6_c32_se0.25"]
    assert [len(stack) for stack in decode_arch_def(strings)] == [1, 1, 2, 4, 3, 3, 1]


def stages(*strings):
    return NetSpec.from_block_strings(strings, resolution=64, classes=7)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (stages("r2_k3_s11_e1_i16_o16_pool"), "stage 1, .*_pool: .* no pooling"),
        (
            stages("r1_k3_s11_e1_i16_o16", "r1_k3_s11_e1_i16_o16_se0.25_conv"),
            "stage 2, .*_conv: .* no squeeze-and-excitation",
        ),
        (stages("r1_k3_s11_e1_i16_o16_se0.03125"), "stage 1, .*: timm rounds the squeeze of 16"),
        (stages("r1_k3_s11_e3_i12_o16"), "stage 1: timm rounds its hidden width, 36, to 40"),
        (stages("r2_k3_s11_e3_i16_o20"), "stage 1: timm rounds its hidden width, 60, to 64"),
        (stages("r1_k3_s33_e1_i16_o16"), "stage 1: stride is 3, timm's EfficientNet has 1 or 2"),
        (stages(*["r1_k3_s22_e1_i16_o16"] * 5), "the total stride is 64, timm dilates beyond 32"),
        (
            published["mnasnet_a1"].scaled(stem_stride=1),
            "stem: stride is 1, timm's EfficientNet has 2: use",
        ),
    ],
)
def test_what_timm_lacks_is_refused_by_name(spec, message):
    for build in (timm_arch_def, timm_network):
        with pytest.raises(UserError, match=message):
            build(spec)
