"""Parameters and multiply-accumulates: exact published counts, and timm's networks as a check."""

import random

import pytest
import timm
import torch
from torch import nn

from supernet.cost import Cost, count, count_layer
from supernet.published import published
from supernet.space import MnasSpace
from supernet.spec import Layer, NetSpec

EXACT = {
    "mnasnet_a1": Cost(3_887_038, 311_579_072),
    "mnasnet_b1": Cost(4_383_312, 314_415_872),
    "mnasnet_small": Cost(2_030_264, 68_339_184),
    "mobilenet_v2": Cost(3_504_872, 300_774_272),
}
TIMM = {
    "mnasnet_a1": "semnasnet_100",
    "mnasnet_b1": "mnasnet_100",
    "mnasnet_small": "mnasnet_small",
    "mobilenet_v2": "mobilenetv2_100",
}


@pytest.mark.parametrize("name", published)
def test_published_networks_have_their_exact_counts_at_224_pixels(name):
    assert count(published[name]) == EXACT[name]


@pytest.mark.parametrize(
    ("width", "cost"),
    [(0.35, Cost(1_747_018, 61_681_920)), (1.4, Cost(6_105_992, 586_317_952))],
)
def test_scaled_a1_has_its_exact_counts(width, cost):
    assert count(published["mnasnet_a1"].scaled(width=width)) == cost


def test_resolution_changes_the_multiply_accumulates_and_not_the_parameters():
    assert count(published["mnasnet_a1"].scaled(resolution=32)) == Cost(3_887_038, 7_861_184)


def test_each_class_costs_one_row_of_the_classifier():
    many, few = (count(published["mnasnet_a1"].scaled(classes=n)) for n in (1000, 10))
    assert Cost(many.params - few.params, many.macs - few.macs) == Cost(990 * 1281, 990 * 1280)


def timm_cost(name: str, resolution: int) -> Cost:
    """Counted on the modules of timm's network, without allocating it."""
    macs = 0

    def add(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal macs
        weights = module.weight.numel()
        macs += weights * (output.shape[-1] ** 2 if isinstance(module, nn.Conv2d) else 1)

    with torch.device("meta"):
        network = timm.create_model(name).eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(add)
        network(torch.empty(1, 3, resolution, resolution))
    return Cost(sum(parameter.numel() for parameter in network.parameters()), macs)


@pytest.mark.parametrize("resolution", [224, 96])
@pytest.mark.parametrize("name", published)
def test_counts_equal_those_of_the_same_network_in_timm(name, resolution):
    spec = published[name].scaled(resolution=resolution)
    assert count(spec) == timm_cost(TIMM[name], resolution)


def test_a1_at_width_1_4_is_timms_semnasnet_140():
    assert count(published["mnasnet_a1"].scaled(width=1.4)) == timm_cost("semnasnet_140", 224)


@pytest.mark.parametrize(
    ("op", "expand", "se", "cost"),
    [
        # 16 to 24 channels, 3x3, stride 2, from 8x8 to 4x4 pixels.
        ("conv", 1, 0.0, Cost(9 * 16 * 24 + 48, 9 * 16 * 24 * 16)),
        ("sepconv", 1, 0.0, Cost(9 * 16 + 32 + 16 * 24 + 48, (9 * 16 + 16 * 24) * 16)),
        (
            "mbconv", 3, 0.0,
            Cost(16 * 48 + 96 + 9 * 48 + 96 + 48 * 24 + 48,
                 16 * 48 * 64 + (9 * 48 + 48 * 24) * 16),
        ),
        # Squeeze-and-excitation of 4 channels on the output of conv, the expansion of mbconv.
        (
            "conv", 1, 0.25,
            Cost(9 * 16 * 24 + 48 + 2 * 24 * 4 + 4 + 24, 9 * 16 * 24 * 16 + 2 * 24 * 4),
        ),
        (
            "mbconv", 3, 0.25,
            Cost(16 * 48 + 96 + 9 * 48 + 96 + 48 * 24 + 48 + 2 * 48 * 4 + 4 + 48,
                 16 * 48 * 64 + (9 * 48 + 48 * 24) * 16 + 2 * 48 * 4),
        ),
    ],
)  # fmt: skip
def test_a_layer_costs_what_its_closed_form_says(op, expand, se, cost):
    for skip in ("none", "pool"):
        assert count_layer(Layer(op, 3, expand, se, skip, 16, 24, 2, 8)) == cost


def test_a_network_costs_its_stem_its_layers_and_its_head():
    space = MnasSpace(width=0.35, resolution=16, classes=10, stem_stride=1, head=256)
    for seed in range(20):
        spec: NetSpec = space.spec(space.sample(random.Random(seed)))
        stem = Cost(27 * 16 + 32, 27 * 16 * 256)
        last = spec.stages[-1].filters
        head = Cost(last * 256 + 512, last * 256)
        classifier = Cost(2570, 2560)
        layers = sum(map(count_layer, spec.layers()), Cost(0, 0))
        assert spec.final_size == 1
        assert count(spec) == stem + layers + head + classifier
