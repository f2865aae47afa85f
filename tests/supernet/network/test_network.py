"""The supernet is the extracted network, and what is counted is what is built."""

import copy
import dataclasses
import math
import random

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from search.settings import WeightOptimizer
from supernet.cost.counts import count
from supernet.network.elastic import ElasticLayer
from supernet.network.functional import pool_shortcut, prefix
from supernet.network.network import Network, recalibrate
from supernet.network.supernet import SuperNet
from supernet.space.arch import Arch, BlockChoice, Restriction, mixture
from supernet.space.mnasnet import MnasSpace
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


@pytest.mark.parametrize("number", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_architectures_equal_their_extracted_networks_and_their_counts(space, supernet, number):
    rng = random.Random(1)
    double = copy.deepcopy(supernet).double()
    images = torch.randn(8, 3, 16, 16, dtype=torch.float64)
    for _ in range(number):
        arch = space.sample(rng)
        network = double.extract(arch).double().train()
        assert sum(p.numel() for p in network.parameters()) == count(space.spec(arch)).params
        with torch.no_grad():
            torch.testing.assert_close(double(images, arch), network(images), atol=1e-5, rtol=0)


SETTINGS = {
    "no plain convolution": {"ops": ("sepconv", "mbconv6")},
    "expansions and depths": {
        "ops": ("sepconv", "mbconv2", "mbconv3", "mbconv4", "mbconv5", "mbconv8"),
        "layers": (-1, 0, 1, 2),
    },
    "separable only": {"ops": ("sepconv",), "ses": (0.0,), "skips": ("none", "identity")},
    "plain only": {"ops": ("conv",), "kernels": (3, 5, 7)},
    "around A1": {"reference": "mnasnet_a1", "divisor": 1},
    "restricted": {
        "restrictions": (
            Restriction(1, ops=("sepconv",), kernels=(3,), layers=(0,)),
            Restriction(5, ops=("conv", "mbconv3"), ses=(0.25,), filters=(0.75,)),
        )
    },
    "widths of each block": {
        "filters": (0.5, 1.0, 1.1667, 2.0, 2.2),
        "restrictions": (
            *(Restriction(block, filters=(1.0,)) for block in (1, 2, 3, 4)),
            Restriction(5, filters=(1.0, 1.1667, 2.2)),
            Restriction(6, filters=(0.5, 2.0)),
        ),
    },
    "one choice for all blocks": {"shared_blocks": True},
}


def everything(space):
    """A path that runs every op, of the largest values."""
    names = ("kernel", "se", "skip", "filters", "layers")
    return Arch(
        tuple(
            BlockChoice(mixture(one["op"]), **{name: max(one[name]) for name in names})
            for one in space.choices
        )
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_other_spaces_share_weights_just_as_well(name):
    space = MnasSpace(width=0.2, stem_stride=1, resolution=16, classes=10, **SETTINGS[name])
    shared, rng = SuperNet(space).double(), random.Random(0)
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    for _ in range(15):
        arch = space.sample(rng)
        network = shared.extract(arch).double().train()
        torch.testing.assert_close(shared(images, arch), network(images), atol=1e-5, rtol=0)
        assert sum(p.numel() for p in network.parameters()) == count(space.spec(arch)).params
    shared(images, everything(space), stream=1.0).sum().backward()
    idle = {name for name, parameter in shared.named_parameters() if parameter.grad is None}
    assert {name for name in idle if "stream" not in name} == set()


def test_closed_form_macs_equal_counted_macs(space):
    rng = random.Random(2)
    for spec in (*published.values(), *(space.spec(space.sample(rng)) for _ in range(8))):
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


def test_a_mixed_op_is_the_mean_of_its_ops(space, supernet):
    block = BlockChoice("conv", 5, 0.25, "none", 1.25, 0)
    x = torch.randn(4, space.stem_filters, 16, 16)
    elastic = supernet.blocks[0][0]

    def features(op):
        arch = Arch((dataclasses.replace(block, op=op), *[block] * 6))
        layer = next(supernet.space.spec(arch).layers())
        return elastic(x, layer, 1e-3, 0.0)

    for ops in (space.ops, ("mbconv6", "conv")):
        mean = torch.stack([features(op) for op in ops]).mean(0)
        torch.testing.assert_close(features(mixture(ops)), mean)


def test_the_stream_acts_only_where_identity_does_not(space, supernet):
    elastic, x = supernet.blocks[1][1], torch.randn(4, 16, 8, 8)
    base = Layer("conv", 3, 1, 0.0, "identity", 16, 16, 1, 8)
    for skip, acts in (("identity", False), ("none", True), ("pool", True)):
        layer = dataclasses.replace(base, skip=skip)
        with torch.no_grad():
            changed = not torch.equal(elastic(x, layer, 1e-3, 0.0), elastic(x, layer, 1e-3, 1.0))
        assert changed == acts


def decayed_parameters(module):
    optimizer = WeightOptimizer(weight_decay=0.1).optimizer(module, 64)
    held = {id(p) for one in optimizer.param_groups if one["weight_decay"] for p in one["params"]}
    return {name for name, parameter in module.named_parameters() if id(parameter) in held}


def test_weight_decay_spares_every_norm_and_every_bias(space, supernet):
    shapes = {name: parameter.shape for name, parameter in supernet.named_parameters()}
    names = set(shapes)
    spared = {name for name in names if "norm" in name or name.endswith("bias")}
    by_two_numbers = [name for name in spared if "norm" not in name and len(shapes[name]) == 2]
    assert len(by_two_numbers) == 72  # timm would decay all of these
    assert decayed_parameters(supernet) == names - spared
    network = supernet.extract(space.sample(random.Random(0)))
    theirs = {name for name, _ in network.named_parameters()}
    assert decayed_parameters(network) == {
        name for name in theirs if name.endswith("weight") and ".bn" not in f".{name}"
    }


def test_recalibration_gives_the_statistics_of_the_batches(space, supernet):
    network = supernet.extract(space.sample(random.Random(7)))
    images = torch.randn(64, 3, 16, 16)
    recalibrate(network, [images])
    stem = network.conv_stem(images)
    torch.testing.assert_close(network.bn1.running_mean, stem.mean((0, 2, 3)))
    assert not network.training
    assert network.bn1.momentum == network.spec.bn_momentum


def test_recalibration_weighs_all_batches_alike(space, supernet):
    network = supernet.extract(space.sample(random.Random(7)))
    batches = torch.randn(4, 16, 3, 16, 16) + torch.arange(4.0).view(4, 1, 1, 1, 1)
    recalibrate(network, iter(batches))
    stems = [network.conv_stem(images) for images in batches]
    means = torch.stack([stem.mean((0, 2, 3)) for stem in stems])
    variances = torch.stack([stem.var((0, 2, 3)) for stem in stems])
    torch.testing.assert_close(network.bn1.running_mean, means.mean(0))
    torch.testing.assert_close(network.bn1.running_var, variances.mean(0))


# Slices by plain indices, and not by what cuts them


def test_a_slice_is_the_first_channels_and_the_middle_of_the_kernel():
    tensor = torch.arange(2 * 3 * 4 * 7 * 7.0).view(2, 3, 4, 7, 7)
    assert torch.equal(prefix(tensor, 2, 1, 3, kernel=3), tensor[:, :1, :3, 2:5, 2:5])
    assert torch.equal(prefix(tensor, 1, kernel=5), tensor[:1, :, :, 1:6, 1:6])
    assert torch.equal(prefix(tensor, 2, 2), tensor[:2, :2])
    view = tensor.transpose(0, 2)[1:]  # another layout in memory, and an offset
    assert torch.equal(prefix(view, 2, 2, 1, kernel=3), view[:2, :2, :1, 2:5, 2:5])
    with pytest.raises(ValueError, match="cannot keep"):
        prefix(tensor, 3)


@pytest.mark.parametrize("op", ["conv", "sepconv", "mbconv3", "mbconv6"])
def test_the_weights_of_an_op_are_those_of_its_channels_and_taps(supernet, op):
    """Block 4, layer 1, of fewer channels than there are, and 3 of 5 taps."""
    elastic, expand = supernet.blocks[4][1], {"mbconv3": 3, "mbconv6": 6}.get(op, 1)
    kind = "mbconv" if expand > 1 else op
    wide = elastic.depthwise.shape[1]
    inputs, outputs = wide - 8, wide - 4
    layer = Layer(kind, 3, expand, 0.25, "none", inputs, outputs, 1, 8)
    weights, taps = elastic.weights(layer), slice(1, 4)
    hidden, own = expand * inputs, elastic.squeeze_excites[op]
    depthwise = elastic.depthwise[:expand, :inputs, taps, taps]
    project = elastic.project[:outputs, :expand, :inputs]
    expected = {}
    if op == "conv":
        dense = elastic.dense[:outputs, :inputs, taps, taps]
        expected["conv.weight"] = dense + torch.einsum("oi,ihw->oihw", project[:, 0], depthwise[0])
        hidden, cut = outputs, (slice(outputs),)
    else:
        expected["conv_dw.weight"] = depthwise.reshape(hidden, 1, 3, 3)
        last = "conv_pw" if op == "sepconv" else "conv_pwl"
        expected[f"{last}.weight"] = project.reshape(outputs, hidden, 1, 1)
        cut = slice(expand), slice(inputs)
    if expand > 1:
        widen = elastic.expand[:expand, :inputs, :inputs]
        expected["conv_pw.weight"] = widen.reshape(hidden, inputs, 1, 1)
    squeezed = layer.se_hidden
    expected |= {
        "se.conv_reduce.weight": own.reduce[(slice(squeezed), *cut)].reshape(
            squeezed, hidden, 1, 1
        ),
        "se.conv_reduce.bias": own.reduce_bias[:squeezed],
        "se.conv_expand.weight": own.expand[(*cut, slice(squeezed))].reshape(hidden, -1, 1, 1),
        "se.conv_expand.bias": own.expand_bias[cut].flatten(),
    }
    norms = {name: value for name, value in weights.items() if name.startswith("bn")}
    assert weights.keys() - norms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, msg=name)
    last = max(norms)[:3]
    output = elastic.norms[f"{op}_output"]
    assert torch.equal(weights[f"{last}.weight"], output.weight[:outputs])
    assert torch.equal(weights[f"{last}.bias"], output.bias[:outputs])
    for place, name in (("expand", "bn1"), ("depthwise", "bn1" if op == "sepconv" else "bn2")):
        if f"{op}_{place}" in elastic.norms:
            norm = elastic.norms[f"{op}_{place}"]
            assert torch.equal(weights[f"{name}.weight"], norm.weight[cut].flatten())
            assert torch.equal(weights[f"{name}.bias"], norm.bias[cut].flatten())


def test_shallower_paths_take_the_first_layers_of_a_stage(space, supernet):
    arch = space.sample(random.Random(11))
    shallow = dataclasses.replace(arch.blocks[1], layers=min(space.choices[1]["layers"]))
    arch = Arch((arch.blocks[0], shallow, *arch.blocks[2:]))
    names = [place for place, _, _ in supernet._path(arch) if place.startswith("blocks.1.")]
    layers = [elastic for place, elastic, _ in supernet._path(arch) if place in names]
    assert names == [f"blocks.1.{number}" for number in range(len(names))]
    assert len(names) < len(supernet.blocks[1])
    assert all(one is two for one, two in zip(layers, supernet.blocks[1], strict=False))


# The aligned start


def test_ops_start_as_nearly_the_same_map_and_not_quite():
    """Each shared tensor is its part of the common map plus a tenth of its usual noise."""
    torch.manual_seed(0)
    layer = ElasticLayer(("conv", "sepconv", "mbconv3", "mbconv6"), 64, 48, 5, 0.25)
    stream, deltas = layer.stream.detach(), torch.zeros(5, 5)
    deltas[2, 2] = 1.0
    project, expand = layer.project.detach(), layer.expand.detach()
    usual = math.sqrt(2 / (6 * 64))
    for index, sign in enumerate((1, -1)):
        assert (project[:, index] - sign * stream).std() == approx(0.1 * usual)
        assert (expand[index] - sign * torch.eye(64)).std() == approx(0.1 / 8)
    assert project[:, 2:].std() == approx(0.3 * usual)
    assert expand[2:].std() == approx(1 / 8)
    assert (layer.depthwise.detach() - deltas).std() == approx(0.1 * math.sqrt(2) / 5)
    assert layer.dense.detach().std() == approx(0.1 * math.sqrt(2 / 64) / 5)
    assert stream.std() == approx(1 / 8)


def approx(value):
    return pytest.approx(value, rel=0.1)  # of 3,000 draws and more, whose sd errs by 1.3 %


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("outputs", [8, 16, 24])
def test_the_pool_shortcut_pads_or_cuts_channels_to_the_bit(outputs, layout):
    x = torch.randn(4, 16, 7, 7).contiguous(memory_format=layout).requires_grad_()
    pooled = functional.avg_pool2d(x, 3, 2, padding=1, count_include_pad=False)
    zeros = torch.zeros(4, 24 - 16, 4, 4)
    expected = torch.cat([pooled, zeros], 1)[:, :outputs]
    found = pool_shortcut(x, 16, outputs, 2)
    assert torch.equal(found, expected)
    ahead = torch.randn_like(expected)
    gradients = [torch.autograd.grad(one, x, ahead)[0] for one in (found, expected)]
    assert torch.equal(*gradients)


SHORTCUTS = [
    BlockChoice("conv", 3, 0.25, "pool", 1.0, 0),
    BlockChoice("sepconv", 5, 0.0, "identity", 1.0, 0),
    BlockChoice("mbconv3", 3, 0.25, "pool", 1.0, 0),
    BlockChoice("mbconv6", 5, 0.0, "none", 1.0, 0),
]


# torch deprecates TorchScript, which many still ship; it is to compile as long as it exists.
@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_every_op_and_shortcut_scripts_and_traces_to_the_bit():
    small = MnasSpace(
        base_filters=(8, 8, 16, 24),
        base_layers=(1, 2, 1, 1),
        strides=(1, 1, 2, 1),
        stem=8,
        stem_stride=1,
        head=16,
        resolution=8,
        classes=10,
    )
    network = Network(small.spec(Arch(tuple(SHORTCUTS)))).eval()
    assert {layer.skip for layer in network.spec.layers()} == {"pool", "identity", "none"}
    images = torch.randn(2, 3, 8, 8)
    for other in (torch.jit.script(network), torch.fx.symbolic_trace(network)):
        assert torch.equal(other(images), network(images))
