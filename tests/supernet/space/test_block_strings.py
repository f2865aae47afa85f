"""Both grammars of block strings: what they spell, that nothing is lost, and what is refused."""

import random
from dataclasses import replace

import pytest
from timm.models._efficientnet_builder import decode_arch_def

from supernet.errors import UserError
from supernet.space.mnasnet import MnasSpace
from supernet.space.published import published
from supernet.space.spec import NetSpec
from supernet.space.stage import Stage

A1 = published["mnasnet_a1"]
SEPCONV = Stage("sepconv", 3, 1, 0.0, "none", 16, 1, 1)


def read_one(text: str, stem: int | None = 16) -> Stage:
    return NetSpec.from_block_strings([text], stem=stem).stages[0]


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("r1_k3_s11_e1_i16_o16_noskip", SEPCONV),
        ("noskip_o16_i16_e1_s11_k3_r1", SEPCONV),
        ("ds_r1_k3_s1_e1_c16_noskip", SEPCONV),
        ("ds_r1_k3_s1_c16_noskip", SEPCONV),
        ("r3_k5_s22_e6_i16_o40_se0.25", Stage("mbconv", 5, 6, 0.25, "identity", 40, 3, 2)),
        ("ir_r3_k5_s2_e6_c40_se0.25", Stage("mbconv", 5, 6, 0.25, "identity", 40, 3, 2)),
        ("r2_k3_s11_e1_i16_o16_pool_conv", Stage("conv", 3, 1, 0.0, "pool", 16, 2, 1)),
        ("r2_k3_s11_e1_i16_o16_conv_se0.5", Stage("conv", 3, 1, 0.5, "identity", 16, 2, 1)),
        ("cn_r2_k3_s1_c16_skip", Stage("conv", 3, 1, 0.0, "identity", 16, 2, 1)),
        ("cn_r2_k3_s1_c16", Stage("conv", 3, 1, 0.0, "none", 16, 2, 1)),
    ],
)
def test_a_string_is_its_stage(text, stage):
    assert read_one(text) == stage


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("r1_k3_s11_e1_i16_o16_x9", "token 7, 'x9', is unknown; known here are r, k, s, e, i, o,"),
        ("r1__k3_s11_e1_i16_o16", "token 2, '', is unknown"),
        ("r1_k3_s11_e1_i16_o16_skip", "token 7, 'skip', is unknown"),
        ("ir_r1_k3_s1_e6_c16_pool", "token 7, 'pool', is unknown; known here are r, k, s, e, c, "),
        ("er_r1_k3_s1_e6_c16", "token 1, 'er', is unknown"),
        ("R1_k3_s11_e1_i16_o16", "token 1, 'R1', is unknown"),
        ("r1_k3_s11_k5_e1_i16_o16", "token 4, 'k5', repeats token 2"),
        ("r1_s11_e1_i16_o16", r"token k \(kernel\) is missing"),
        ("ir_r1_k3_s1_c16", r"token e \(expansion\) is missing"),
        ("r0_k3_s11_e1_i16_o16", "token 1, 'r0': repeats must be a whole number of at least 1"),
        ("r1_k3.5_s11_e1_i16_o16", "token 2, 'k3.5': kernel must be a whole number"),
        ("r1_k3_s12_e1_i16_o16", "token 3, 's12': strides are one digit given twice"),
        ("r1_k3_s2_e1_i16_o16", "token 3, 's2': strides are one digit given twice"),
        ("r1_k4_s11_e1_i16_o16", "token 2, 'k4': kernel must be odd"),
        ("r1_k3_s11_e6_i16_o16_conv", "token 4, 'e6': conv expands by 1"),
        ("ir_r1_k3_s1_e1_c16", "token 5, 'e1': mbconv expands by 2 or more"),
        ("ds_r1_k3_s1_e3_c16", "token 5, 'e3': sepconv expands by 1"),
        ("r1_k3_s11_e1_i16_o16_se0.2.5", "token 7, 'se0.2.5': the ratio must be a finite number"),
        ("r1_k3_s11_e1_i16_o16_se1e999", "token 7, 'se1e999': the ratio must be a finite number"),
        ("r1_k3_s11_e1_i16_o16_se17", "token 7, 'se17': the ratio must be a finite number from 0"),
        ("r\u0661_k3_s11_e1_i16_o16", "token 1, 'r\u0661', is unknown"),
        ("r1_k3_s22_e1_i16_o1\uff16", "token 6, 'o1\uff16': output filters must be a whole number"),
        ("r1_k3_s\uff12\uff12_e1_i16_o16", "token 3, 's\uff12\uff12', is unknown"),
        (
            "r1_k3_s11_e1_i16_o16_se0.\uff125",
            "token 7, 'se0.\uff125': the ratio must be a finite number",
        ),
        ("r1_k3_s11_e1_i16_o16_se0_1", "token 8, '1', is unknown"),
        ("r1_k3_s11_e1_i16_o1\u00b2", "token 6, 'o1\u00b2': output filters must be a whole number"),
        ("r9999999999_k3_s11_e1_i16_o16", "token 1, 'r9999999999': repeats must be a whole number"),
        ("r1_k3_s11_e1_i16_o16_noskip_pool", "token 8, 'pool': it contradicts noskip"),
        ("cn_r1_k3_s1_c16_skip_noskip", "token 7, 'noskip': it contradicts skip"),
        ("r1_k3_s11_e6_i24_o16", "token 5, 'i24': 16 channels come in from what is before"),
        ("r2_k3_s11_e1_i24_o16", "token 5, 'i24': 16 channels come in"),
    ],
)
def test_a_malformed_string_names_itself_the_token_and_its_position(text, message):
    with pytest.raises(UserError, match=f"block string 1, '{text}': {message}") as error:
        read_one(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("r999999999_k3_s11_e1_i16_o16", "stage 1: repeats is 999999999, it must be at most 100"),
        ("r1_k3_s11_e1_i16_o999999999", "stage 1: filters is 999999999, it must be at most 65536"),
        ("r1_k3_s11_e99_i16_o16", "stage 1: expand is 99, it must be at most 64"),
    ],
)
def test_a_string_of_a_network_that_nothing_could_hold_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        NetSpec.from_block_strings([text])


def test_the_number_of_a_malformed_string_is_told():
    with pytest.raises(UserError, match="block string 7, 'r1_k3': token s"):
        NetSpec.from_block_strings([*A1.block_strings()[:6], "r1_k3"])


def test_no_strings_are_no_network():
    with pytest.raises(UserError, match="at least one stage"):
        NetSpec.from_block_strings([])


def test_the_stem_is_what_the_first_string_tells_and_32_where_it_tells_nothing():
    assert NetSpec.from_block_strings(["r1_k3_s11_e1_i8_o8"]).stem == 8
    assert NetSpec.from_block_strings(["ds_r1_k3_s1_c8"]).stem == 32


def test_the_official_small_network_has_no_shortcut_where_its_string_contradicts_its_stem():
    assert read_one("r1_k3_s11_e1_i16_o8", stem=8).skip == "none"
    assert read_one("r1_k3_s11_e1_i8_o8", stem=8).skip == "identity"


@pytest.mark.parametrize("name", published)
@pytest.mark.parametrize("grammar", ["official", "timm"])
def test_published_networks_survive_both_grammars(name, grammar):
    spec = published[name]
    back = NetSpec.from_block_strings(
        spec.block_strings(grammar),
        stem=spec.stem,
        activation=spec.activation,
        bn_eps=spec.bn_eps,
        head_widens=spec.head_widens,
    )
    assert back == spec


def test_a_round_trip_is_the_identity_for_2000_random_architectures():
    space, rng = MnasSpace(ses=(0.0, 0.25, 0.1, 1e-7)), random.Random(0)
    for _ in range(2000):
        spec = space.spec(space.sample(rng))
        assert NetSpec.from_block_strings(spec.block_strings()) == spec


def test_timms_grammar_is_a_round_trip_for_every_network_that_it_can_spell():
    space, rng, spelt = MnasSpace(skips=("none", "identity")), random.Random(0), 0
    for _ in range(2000):
        spec = space.spec(space.sample(rng))
        if any(stage.op == "conv" and stage.se for stage in spec.stages):
            with pytest.raises(UserError, match="timm's plain convolution has no squeeze"):
                spec.block_strings("timm")
            continue
        strings = spec.block_strings("timm")
        assert NetSpec.from_block_strings(strings, stem=spec.stem) == spec
        blocks = [decode_arch_def([[text]])[0] for text in strings]
        assert [len(block) for block in blocks] == [stage.repeats for stage in spec.stages]
        assert [block[0]["out_chs"] for block in blocks] == [s.filters for s in spec.stages]
        spelt += 1
    assert spelt > 500


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"skip": "pool"}, "timm's blocks have no pooling shortcut"),
        ({"op": "conv", "expand": 1}, "timm's plain convolution has no squeeze-and-excitation"),
        ({"se": 0.24}, r"timm rounds the squeeze of 24 channels at ratio 0\.24 to 6, .* to 5"),
    ],
)
def test_what_timm_lacks_is_named_with_its_stage(change, message):
    stages = list(A1.stages)
    stages[2] = replace(stages[2], **change)
    with pytest.raises(UserError, match=f"stage 3, r3_k5_s22_e[13]_i24_o40_se.*: {message}"):
        replace(A1, stages=tuple(stages)).block_strings("timm")
