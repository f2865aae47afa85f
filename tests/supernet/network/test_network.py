"""The supernet is the extracted network, and what is counted is what is built."""

import copy
import dataclasses
import random

import pytest
import torch
from timm.optim import param_groups_weight_decay
from torch.utils.flop_counter import FlopCounterMode

from search.settings import warmup_path
from supernet.cost.counts import count
from supernet.network.elastic import ElasticNorm
from supernet.network.network import Network, recalibrate
from supernet.network.supernet import SuperNet
from supernet.space.arch import MIXED, Arch, BlockChoice
from supernet.space.mnasnet import MnasSpace, Restriction
from supernet.space.published import published
from supernet.space.stage import Layer


@pytest.fixture(scope="module")
def space():
    return MnasSpace(width=0.35, stem_stride=1, resolution=16, classes=10)


@pytest.fixture(scope="module")
def supernet(space):
    torch.manual_seed(0)
    net = SuperNet(space)
    for parameter in net.parameters():  # away from the aligned start, where ops nearly agree
        parameter.data += 0.05 * torch.randn_like(parameter)
    return net


def test_200_architectures_equal_their_extracted_networks_and_their_counts(space, supernet):
    rng = random.Random(1)
    double = copy.deepcopy(supernet).double()
    images = torch.randn(8, 3, 16, 16, dtype=torch.float64)
    for _ in range(200):
        arch = space.sample(rng)
        network = double.extract(arch).double().train()
        assert sum(p.numel() for p in network.parameters()) == count(space.spec(arch)).params
        with torch.no_grad():
            torch.testing.assert_close(double(images, arch), network(images), atol=1e-5, rtol=0)


SETTINGS = {
    "no plain convolution": {"ops": ("sepconv", "mbconv6")},
    "separable only": {"ops": ("sepconv",), "ses": (0.0,), "skips": ("none", "identity")},
    "plain only": {"ops": ("conv",), "kernels": (3, 5, 7)},
    "around A1": {"reference": "mnasnet_a1", "divisor": 1},
    "restricted": {
        "restrictions": (
            Restriction(1, ops=("sepconv",), kernels=(3,), layers=(0,)),
            Restriction(5, ops=("conv", "mbconv3"), ses=(0.25,), filters=(0.75,)),
        )
    },
}


@pytest.mark.parametrize("name", SETTINGS)
def test_other_spaces_share_weights_just_as_well(name):
    space = MnasSpace(width=0.2, stem_stride=1, resolution=16, classes=10, **SETTINGS[name])
    shared, rng = SuperNet(space).double(), random.Random(0)
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    for _ in range(30):
        arch = space.sample(rng)
        expected = shared.extract(arch).double().train()(images)
        torch.testing.assert_close(shared(images, arch), expected, atol=1e-5, rtol=0)
    everything = warmup_path(space.sample(rng), space, 1.0, rng)
    shared(images, everything, stream=1.0).sum().backward()
    idle = {name for name, parameter in shared.named_parameters() if parameter.grad is None}
    assert {name for name in idle if "stream" not in name} == set()


def test_closed_form_macs_equal_counted_macs(space):
    rng = random.Random(2)
    for spec in (*published.values(), *(space.spec(space.sample(rng)) for _ in range(20))):
        with torch.device("meta"):
            network = Network(spec).eval()
            images = torch.empty(1, 3, spec.resolution, spec.resolution)
        with FlopCounterMode(display=False) as counter:
            network(images)
        assert counter.get_total_flops() == 2 * count(spec).macs


def test_single_precision_agrees_to_rounding(space, supernet):
    rng = random.Random(3)
    images = torch.randn(8, 3, 16, 16)
    for _ in range(10):
        arch = space.sample(rng)
        network = supernet.extract(arch).train()
        with torch.no_grad():
            ours, theirs = supernet(images, arch), network(images)
        assert (ours - theirs).abs().max() <= 1e-5 * ours.abs().max().clamp(min=1)


def test_extraction_copies_so_that_training_on_leaves_the_network_alone(space, supernet):
    arch = space.sample(random.Random(4))
    network = supernet.extract(arch)
    before = network.conv_head.weight.clone()
    other = copy.deepcopy(supernet)
    with torch.no_grad():
        supernet.conv_head.add_(1)
    assert torch.equal(network.conv_head.weight, before)
    supernet.load_state_dict(other.state_dict())


def test_gradient_reaches_exactly_the_slices_of_the_path(space, supernet):
    arch = space.sample(random.Random(5))
    supernet.zero_grad(set_to_none=True)
    supernet(torch.randn(8, 3, 16, 16), arch).square().sum().backward()
    network = supernet.extract(arch)
    touched = sum(int((p.grad != 0).sum()) for p in supernet.parameters() if p.grad is not None)
    assert touched <= sum(p.numel() for p in network.parameters())
    assert touched > 0.5 * sum(p.numel() for p in network.parameters())


def test_gradients_equal_those_of_the_extracted_network(space, supernet):
    arch = space.sample(random.Random(6))
    double = copy.deepcopy(supernet).double()
    images = torch.randn(8, 3, 16, 16, dtype=torch.float64)
    network = double.extract(arch).double().train()
    double(images, arch).square().sum().backward()
    network(images).square().sum().backward()
    torch.testing.assert_close(double.classifier.weight.grad, network.classifier.weight.grad)
    width = network.conv_head.weight.shape[1]
    torch.testing.assert_close(double.conv_head.grad[:, :width], network.conv_head.weight.grad)


def test_a_mixed_op_is_the_mean_of_the_four_ops(space, supernet):
    block = BlockChoice("conv", 5, 0.25, "none", 1.25, 0)
    x = torch.randn(4, space.stem_filters, 16, 16)
    elastic = supernet.blocks[0][0]

    def features(op):
        arch = Arch((dataclasses.replace(block, op=op), *[block] * 6))
        layer = next(supernet.space.spec(arch).layers())
        return elastic(x, layer, 1e-3, 0.0)

    mean = torch.stack([features(op) for op in space.ops]).mean(0)
    torch.testing.assert_close(features(MIXED), mean)


def test_the_stream_acts_only_where_identity_does_not(space, supernet):
    elastic, x = supernet.blocks[1][1], torch.randn(4, 16, 8, 8)
    base = Layer("conv", 3, 1, 0.0, "identity", 16, 16, 1, 8)
    for skip, acts in (("identity", False), ("none", True), ("pool", True)):
        layer = dataclasses.replace(base, skip=skip)
        with torch.no_grad():
            changed = not torch.equal(elastic(x, layer, 1e-3, 0.0), elastic(x, layer, 1e-3, 1.0))
        assert changed == acts


def test_weight_decay_spares_every_norm(supernet):
    groups = param_groups_weight_decay(
        supernet, 0.1, no_weight_decay_list=supernet.no_weight_decay()
    )
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    norms = [p for m in supernet.modules() if isinstance(m, ElasticNorm) for p in m.parameters()]
    assert not decayed & {id(parameter) for parameter in norms}
    assert id(supernet.blocks[0][0].dense) in decayed


def test_recalibration_gives_the_statistics_of_the_batches(space, supernet):
    network = supernet.extract(space.sample(random.Random(7)))
    images = torch.randn(64, 3, 16, 16)
    recalibrate(network, [images])
    stem = network.conv_stem(images)
    torch.testing.assert_close(network.bn1.running_mean, stem.mean((0, 2, 3)))
    assert not network.training
    assert network.bn1.momentum == network.spec.bn_momentum
