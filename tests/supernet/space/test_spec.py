"""A network as data: layers, shapes, spelling and reading back."""

import dataclasses
import json
import random
from itertools import pairwise

import pytest

from supernet.errors import UserError
from supernet.space.mnasnet import MnasSpace
from supernet.space.published import published, published_spec
from supernet.space.spec import NetSpec
from supernet.space.stage import Stage, make_divisible, output_size

A1 = published["mnasnet_a1"]


def one_stage(**fields) -> NetSpec:
    stage = {
        "op": "mbconv",
        "kernel": 3,
        "expand": 6,
        "se": 0.0,
        "skip": "identity",
        "filters": 24,
        "repeats": 3,
        "stride": 2,
    }
    return NetSpec(16, 2, (Stage(**{**stage, **fields}),), 64, 10, 32)


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (1, 8),
        (8, 8),
        (11.2, 16),
        (12, 16),
        (11.9, 16),
        (18, 24),
        (20, 24),
        (30, 32),
        (35.2, 32),
        (36, 40),
        (224, 224),
    ],
)
def test_channels_round_to_the_nearest_eight_but_lose_at_most_a_tenth(value, rounded):
    assert make_divisible(value) == rounded


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_output_size_is_that_of_a_padded_convolution(kernel, stride):
    for size in range(1, 40):
        assert output_size(size, stride) == (size + 2 * (kernel // 2) - kernel) // stride + 1


@pytest.mark.parametrize("name", published)
def test_published_networks_halve_224_pixels_five_times(name):
    assert published[name].final_size == 7
    assert published[name].scaled(resolution=32).final_size == 1


def test_only_the_first_layer_of_a_stage_strides_and_widens():
    layers = list(one_stage().layers())
    assert [(layer.inputs, layer.outputs) for layer in layers] == [(16, 24), (24, 24), (24, 24)]
    assert [layer.stride for layer in layers] == [2, 1, 1]
    assert [(layer.size, layer.output_size) for layer in layers] == [(16, 8), (8, 8), (8, 8)]


def test_each_layer_starts_where_the_one_before_ended():
    layers = list(A1.layers())
    for before, after in pairwise(layers):
        assert (after.inputs, after.size) == (before.outputs, before.output_size)
    assert [len(stage) for stage in A1.stage_layers()] == [1, 2, 3, 4, 2, 3, 1]


@pytest.mark.parametrize(
    ("fields", "skips"),
    [
        ({}, ["none", "identity", "identity"]),
        ({"stride": 1}, ["none", "identity", "identity"]),
        ({"filters": 16}, ["none", "identity", "identity"]),
        ({"stride": 1, "filters": 16}, ["identity"] * 3),
        ({"skip": "pool"}, ["pool"] * 3),
        ({"skip": "none", "stride": 1, "filters": 16}, ["none"] * 3),
    ],
)
def test_identity_acts_where_stride_and_widths_allow_and_pool_everywhere(fields, skips):
    assert [layer.skip for layer in one_stage(**fields).layers()] == skips


@pytest.mark.parametrize(
    ("op", "expand", "hidden"), [("conv", 1, 24), ("sepconv", 1, 16), ("mbconv", 3, 48)]
)
def test_hidden_width_is_output_for_conv_and_expanded_input_otherwise(op, expand, hidden):
    assert next(one_stage(op=op, expand=expand).layers()).hidden == hidden


def test_squeeze_width_follows_the_layers_input_and_never_reaches_zero():
    assert [layer.se_hidden for layer in one_stage(se=0.25).layers()] == [4, 6, 6]
    assert [layer.se_hidden for layer in one_stage(se=0.01).layers()] == [1, 1, 1]
    assert [layer.se_hidden for layer in one_stage(se=0.0).layers()] == [0, 0, 0]


def test_block_strings_of_a1_are_those_of_the_official_code():
    assert A1.block_strings() == [
        "r1_k3_s11_e1_i32_o16_noskip",
        "r2_k3_s22_e6_i16_o24",
        "r3_k5_s22_e3_i24_o40_se0.25",
        "r4_k3_s22_e6_i40_o80",
        "r2_k3_s11_e6_i80_o112_se0.25",
        "r3_k5_s22_e6_i112_o160_se0.25",
        "r1_k3_s11_e6_i160_o320",
    ]


def test_block_strings_spell_what_the_official_grammar_lacks():
    strings = one_stage(op="conv", expand=1, skip="pool").block_strings()
    assert strings == ["r3_k3_s22_e1_i16_o24_pool_conv"]


def test_scaling_changes_width_resolution_classes_and_stem_stride_and_nothing_else():
    spec = A1.scaled(width=0.35, resolution=32, classes=10, stem_stride=1)
    assert (spec.stem, spec.head) == (16, 1280)
    assert [stage.filters for stage in spec.stages] == [8, 8, 16, 32, 40, 56, 112]
    assert (spec.resolution, spec.classes, spec.stem_stride) == (32, 10, 1)
    for before, after in zip(A1.stages, spec.stages, strict=True):
        assert dataclasses.replace(after, filters=before.filters) == before


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ({"width": 0.0}, r"width is 0\.0, it must be a finite number above 0"),
        ({"width": float("nan")}, "width is nan"),
        ({"resolution": 0}, "resolution is 0, it must be a whole number of at least 1"),
        ({"classes": -1}, "classes is -1"),
        ({"stem_stride": 0}, "stem_stride is 0"),
    ],
)
def test_scaling_to_nothing_is_refused(scale, message):
    with pytest.raises(UserError, match=message):
        A1.scaled(**scale)


def test_only_mobilenet_v2_widens_its_head_and_only_above_width_one():
    heads = {(name, w): published[name].scaled(w).head for name in published for w in (0.35, 1.4)}
    assert heads.pop(("mobilenet_v2", 1.4)) == 1792
    assert set(heads.values()) == {1280}


def test_scaling_by_nothing_is_the_same_network():
    for spec in published.values():
        assert spec.scaled() == spec


def test_json_gives_the_same_network_back():
    space = MnasSpace(width=0.35)
    sampled = [space.spec(space.sample(random.Random(seed))) for seed in range(20)]
    for spec in (*published.values(), *sampled):
        assert NetSpec.from_json(spec.to_json()) == spec


def changed(**changes) -> str:
    fields = json.loads(A1.to_json())
    fields["stages"][1].update(changes)
    return json.dumps(fields)


def network(**changes) -> str:
    return json.dumps({**json.loads(A1.to_json()), **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a network specification"),
        ("[]", "not a network specification"),
        ("{}", "field stem is missing"),
        ('{"stages": []}', "missing"),
        (changed(groups=2), "'groups'"),
        (changed(op="dense"), "stage 2: op is 'dense', allowed are conv, sepconv, mbconv"),
        (changed(skip="max"), "stage 2: skip is 'max', allowed are none, identity, pool"),
        (changed(kernel=4), "stage 2: kernel is 4, it must be odd"),
        (changed(kernel=3.0), r"stages\[2\]\.kernel is 3\.0, it must be a whole number"),
        (changed(repeats=0), "stage 2: repeats is 0, it must be a whole number of at least 1"),
        (changed(filters=-8), "stage 2: filters is -8, it must be a whole number of at least 1"),
        (changed(se=-0.25), r"stage 2: se is -0\.25, it must be at least 0"),
        (changed(expand=1), "op is mbconv and expand 1; mbconv expands by 2 or more"),
        (network(stages=[]), "at least one stage"),
        (network(resolution=0), "resolution is 0, it must be a whole number of at least 1"),
        (network(activation="tanh"), "activation is 'tanh', allowed are relu, relu6"),
        (network(bn_eps=0), r"bn_eps is 0\.0, it must be above 0"),
        (network(head_widens=1), "head_widens is 1, it must be true or false"),
    ],
)
def test_reading_a_broken_specification_names_what_is_wrong(text, message):
    with pytest.raises(UserError, match=message):
        NetSpec.from_json(text)


def test_a_specification_of_an_earlier_release_has_no_widening_head():
    fields = json.loads(A1.to_json())
    del fields["head_widens"]
    assert NetSpec.from_json(json.dumps(fields)) == A1


def test_a_name_may_end_in_a_width_multiplier_as_timm_spells_it():
    assert published_spec("mnasnet_a1_075") == A1.scaled(0.75)
    assert published_spec("mobilenet_v2_140") == published["mobilenet_v2"].scaled(1.4)


def test_timms_compound_mobilenets_are_deeper_between_ends_that_stay():
    spec = published_spec("mobilenet_v2_110d")
    assert [stage.repeats for stage in spec.stages] == [1, 3, 4, 5, 4, 4, 1]
    assert [stage.filters for stage in spec.stages] == [16, 24, 32, 72, 104, 176, 352]
    assert (spec.stem, spec.head) == (32, 1280)


@pytest.mark.parametrize(
    "name", ["mnasnet_a1_75", "mnasnet_a1_075d", "mobilenet_v2_140d", "resnet_050", "", "_100"]
)
def test_a_name_with_another_ending_is_unknown(name):
    with pytest.raises(UserError, match=r"unknown network .*one of a width such as mnasnet_a1_075"):
        published_spec(name)


def test_an_unknown_name_is_answered_with_the_known_ones():
    assert published_spec("mnasnet_b1") is published["mnasnet_b1"]
    with pytest.raises(UserError, match=r"'mnasnet_c1'.*mnasnet_a1, mnasnet_b1, mnasnet_small"):
        published_spec("mnasnet_c1")
