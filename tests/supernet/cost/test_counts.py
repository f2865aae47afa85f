"""Parameters and multiply-accumulates: exact published counts, and timm's networks as a check."""

import random

import pytest
import timm
import torch

from supernet.cost.counts import Cost, count, count_layer
from supernet.network.network import Network
from supernet.space.mnasnet import MnasSpace
from supernet.space.published import published, published_spec
from supernet.space.spec import NetSpec
from supernet.space.stage import Layer

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


# Every figure of the published networks at other widths and sizes in the table that this project
# was given: computed once on timm's and torchvision's networks.
SCALED = {
    ("mnasnet_a1_140", 224): Cost(6_105_992, 586_317_952),
    ("mnasnet_a1_075", 224): Cost(2_912_278, 223_448_480),
    ("mnasnet_a1_050", 224): Cost(2_082_006, 103_162_992),
    ("mnasnet_a1_035", 224): Cost(1_747_018, 61_681_920),
    ("mnasnet_b1_140", 224): Cost(7_115_728, 588_799_408),
    ("mnasnet_b1_130", 224): Cost(6_282_256, 526_362_432),
    ("mnasnet_b1_075", 224): Cost(3_170_208, 215_493_104),
    ("mnasnet_b1_050", 224): Cost(2_218_512, 104_455_968),
    ("mobilenet_v2_140", 224): Cost(6_108_776, 582_195_824),
    ("mnasnet_a1", 32): Cost(3_887_038, 7_861_184),
}
ROUNDED = {
    ("mnasnet_a1", 192): 229.3,
    ("mnasnet_a1", 160): 159.7,
    ("mnasnet_a1", 128): 102.8,
    ("mnasnet_a1", 96): 58.5,
    ("mnasnet_a1", 64): 26.84,
    ("mnasnet_b1", 64): 26.84,
    ("mnasnet_b1", 32): 7.67,
    ("mnasnet_small", 128): 23.2,
    ("mnasnet_small", 64): 6.82,
    ("mnasnet_small", 32): 2.72,
    ("mobilenet_v2", 64): 25.73,
    ("mobilenet_v2", 32): 7.39,
}
"""Multiply-accumulates in millions, as far as they were printed."""


@pytest.mark.parametrize(("name", "resolution"), SCALED)
def test_scaled_networks_have_their_exact_counts(name, resolution):
    assert count(published_spec(name).scaled(resolution=resolution)) == SCALED[name, resolution]


@pytest.mark.parametrize(("name", "resolution"), ROUNDED)
def test_other_sizes_have_their_multiply_accumulates(name, resolution):
    millions = ROUNDED[name, resolution]
    digits = len(str(millions).split(".")[1])
    cost = count(published[name].scaled(resolution=resolution))
    assert round(cost.macs / 1e6, digits) == millions
    assert cost.params == EXACT[name].params


OTHERS = {
    "efficientnet_b0": (
        [
            "ds_r1_k3_s1_e1_c16_se0.25",
            "ir_r2_k3_s2_e6_c24_se0.25",
            "ir_r2_k5_s2_e6_c40_se0.25",
            "ir_r3_k3_s2_e6_c80_se0.25",
            "ir_r3_k5_s1_e6_c112_se0.25",
            "ir_r4_k5_s2_e6_c192_se0.25",
            "ir_r1_k3_s1_e6_c320_se0.25",
        ],
        Cost(5_288_548, 385_814_752),
    ),
    "spnasnet_100": (
        [
            "ds_r1_k3_s1_c16_noskip",
            "ir_r3_k3_s2_e3_c24",
            "ir_r1_k5_s2_e6_c40",
            "ir_r3_k3_s1_e3_c40",
            "ir_r1_k5_s2_e6_c80",
            "ir_r3_k3_s1_e3_c80",
            "ir_r1_k5_s1_e6_c96",
            "ir_r3_k5_s1_e3_c96",
            "ir_r4_k5_s2_e6_c192",
            "ir_r1_k3_s1_e6_c320_noskip",
        ],
        Cost(4_421_616, 333_467_072),
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_networks_of_the_same_blocks_are_counted_from_timms_strings(name):
    strings, cost = OTHERS[name]
    assert count(NetSpec.from_block_strings(strings)) == cost


def test_each_class_costs_one_row_of_the_classifier():
    many, few = (count(published["mnasnet_a1"].scaled(classes=n)) for n in (1000, 10))
    assert Cost(many.params - few.params, many.macs - few.macs) == Cost(990 * 1281, 990 * 1280)


@pytest.mark.parametrize("resolution", [224, 96])
@pytest.mark.parametrize("name", published)
def test_counts_equal_those_of_the_same_network_in_timm(name, resolution, counted):
    spec = published[name].scaled(resolution=resolution)
    with torch.device("meta"):
        network = timm.create_model(TIMM[name]).eval()
    assert count(spec) == counted(network, resolution)


@pytest.mark.parametrize("name", TIMM)
def test_any_width_and_any_input_size_is_counted_as_the_built_network_is(name, counted):
    for width in (0.35, 0.5, 0.75, 1.0, 1.4):
        with torch.device("meta"):
            network = Network(published[name].scaled(width=width)).eval()
        for resolution in (32, 33, 111, 160, 225, 320):
            spec = published[name].scaled(width=width, resolution=resolution)
            assert count(spec) == counted(network, resolution)


@pytest.mark.parametrize(
    ("op", "expand", "se", "cost"),
    [
        # 16 to 24 channels, 3x3, stride 2, from 8x8 to 4x4 pixels.
        ("conv", 1, 0.0, Cost(9 * 16 * 24 + 48, 9 * 16 * 24 * 16)),
        ("sepconv", 1, 0.0, Cost(9 * 16 + 32 + 16 * 24 + 48, (9 * 16 + 16 * 24) * 16)),
        (
            "mbconv",
            3,
            0.0,
            Cost(16 * 48 + 96 + 9 * 48 + 96 + 48 * 24 + 48, 16 * 48 * 64 + (9 * 48 + 48 * 24) * 16),
        ),
        # Squeeze-and-excitation of 4 channels on the output of conv, the expansion of mbconv.
        (
            "conv",
            1,
            0.25,
            Cost(9 * 16 * 24 + 48 + 2 * 24 * 4 + 4 + 24, 9 * 16 * 24 * 16 + 2 * 24 * 4),
        ),
        (
            "mbconv",
            3,
            0.25,
            Cost(
                16 * 48 + 96 + 9 * 48 + 96 + 48 * 24 + 48 + 2 * 48 * 4 + 4 + 48,
                16 * 48 * 64 + (9 * 48 + 48 * 24) * 16 + 2 * 48 * 4,
            ),
        ),
    ],
)
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
