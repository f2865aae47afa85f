"""The search space: codes, networks, and which codes are one network."""

import itertools
import math
import random
from collections import defaultdict
from dataclasses import replace

import pytest

from supernet.cost.counts import count
from supernet.display.tables import num_networks
from supernet.errors import UserError
from supernet.space.arch import DECISIONS, Arch, BlockChoice, Restriction
from supernet.space.mnasnet import MnasSpace
from supernet.space.published import published
from supernet.space.spec import NetSpec

PAPER = MnasSpace()
ONE_OP = {"ops": ("conv",), "kernels": (3,), "ses": (0.0,)}


def uniform_arch(space: MnasSpace, **choices) -> Arch:
    block = {"op": "mbconv6", "kernel": 3, "se": 0.0, "skip": "none", "filters": 1.0, "layers": 0}
    return Arch((BlockChoice(**{**block, **choices}),) * space.num_blocks)


def test_a_block_of_the_papers_space_has_432_codes_and_a_network_has_42_decisions():
    assert [len(list(PAPER.block_choices(block))) for block in range(7)] == [432] * 7
    assert len(PAPER.decision_sizes) == 42
    assert math.prod(PAPER.decision_sizes) == 432**7


def test_decode_inverts_encode_for_random_codes():
    rng = random.Random(0)
    for _ in range(200):
        code = tuple(rng.randrange(size) for size in PAPER.decision_sizes)
        assert PAPER.encode(PAPER.decode(code)) == code


def test_every_single_choice_is_decoded_into_its_block_and_decision():
    for position, size in enumerate(PAPER.decision_sizes):
        block, decision = divmod(position, len(DECISIONS))
        for index in range(size):
            code = [0] * 42
            code[position] = index
            value = getattr(PAPER.decode(code).blocks[block], DECISIONS[decision])
            assert value == PAPER.choices[block][DECISIONS[decision]][index]


def test_samples_repeat_with_the_seed_and_reach_every_choice():
    draws = [PAPER.sample(random.Random(seed)) for seed in range(100)]
    assert draws[7] == PAPER.sample(random.Random(7))
    for name in DECISIONS:
        assert {getattr(draw.blocks[3], name) for draw in draws} == set(PAPER.choices[3][name])


def test_mobilenet_v2_is_a_point_of_the_space():
    blocks = list(uniform_arch(PAPER, skip="identity").blocks)
    blocks[0] = BlockChoice("sepconv", 3, 0.0, "none", 1.0, 0)
    spec = PAPER.spec(Arch(tuple(blocks)))
    reference = published["mobilenet_v2"]
    assert list(spec.layers()) == list(reference.layers())
    assert (spec.stem, spec.head) == (reference.stem, reference.head)
    assert count(spec) == count(reference)


def test_every_expansion_and_depth_is_spelt_and_read_in_both_grammars():
    expansions = range(2, 9)
    space = MnasSpace(ops=tuple(f"mbconv{one}" for one in expansions), layers=(-1, 0, 1, 2))
    for op, expansion in zip(space.ops, expansions, strict=True):
        spec = space.spec(uniform_arch(space, op=op, se=0.25, skip="identity", layers=2))
        assert spec.block_strings()[3] == f"r6_k3_s22_e{expansion}_i32_o64_se0.25"
        assert spec.block_strings("timm")[3] == f"ir_r6_k3_s2_e{expansion}_c64_se0.25"
        for strings in (spec.block_strings(), spec.block_strings("timm")):
            assert NetSpec.from_block_strings(strings, stem=32).stages == spec.stages


def test_each_op_becomes_its_stage():
    stages = {op: PAPER.spec(uniform_arch(PAPER, op=op)).stages[0] for op in PAPER.ops}
    assert {op: (stage.op, stage.expand) for op, stage in stages.items()} == {
        "conv": ("conv", 1),
        "sepconv": ("sepconv", 1),
        "mbconv3": ("mbconv", 3),
        "mbconv6": ("mbconv", 6),
    }


@pytest.mark.parametrize(
    ("multiplier", "widths"),
    [
        (0.75, [16, 24, 24, 48, 72, 120, 240]),
        (1.0, [16, 24, 32, 64, 96, 160, 320]),
        (1.25, [24, 32, 40, 80, 120, 200, 400]),
    ],
)
def test_filters_scale_the_base_widths_and_round_to_eight(multiplier, widths):
    spec = PAPER.spec(uniform_arch(PAPER, filters=multiplier))
    assert [stage.filters for stage in spec.stages] == widths


def test_filters_round_to_the_divisor_that_is_set():
    space = MnasSpace(divisor=2)
    assert [space.block_filters(0, multiplier) for multiplier in (0.75, 1.0, 1.25)] == [12, 16, 20]


def test_layers_shift_the_base_depths_and_stop_at_one():
    depths = {
        delta: [stage.repeats for stage in PAPER.spec(uniform_arch(PAPER, layers=delta)).stages]
        for delta in PAPER.layers
    }
    assert depths == {-1: [1, 1, 2, 3, 2, 2, 1], 0: [1, 2, 3, 4, 3, 3, 1], 1: [2, 3, 4, 5, 4, 4, 2]}


def test_width_scales_stem_and_stages_but_not_the_head():
    space = MnasSpace(width=0.5, resolution=64, classes=10, stem_stride=1)
    spec = space.spec(uniform_arch(space))
    assert (spec.stem, spec.head) == (16, 1280)
    assert [stage.filters for stage in spec.stages] == [8, 16, 16, 32, 48, 80, 160]
    assert (spec.resolution, spec.classes, spec.stem_stride) == (64, 10, 1)


def network(space: MnasSpace, arch: Arch) -> tuple:
    """What a code computes: a layer names the skip that acts on it and the width it squeezes to."""
    return tuple(
        tuple((replace(layer, se=0.0), layer.se_hidden) for layer in layers)
        for layers in space.spec(arch).stage_layers()
    )


@pytest.mark.parametrize(
    "settings",
    [
        {
            "base_filters": (16, 16, 24),
            "base_layers": (1, 1, 2),
            "strides": (1, 1, 2),
            "stem": 16,
            "restrictions": (Restriction(1, skips=("none", "identity"), layers=(-1, 0)),),
        },
        {"base_filters": (16, 24), "base_layers": (1, 2), "strides": (1, 1), "width": 0.35},
        {"base_filters": (16, 24), "base_layers": (1, 2), "strides": (1, 1), "divisor": 2},
        {
            "base_filters": (16, 16),
            "base_layers": (2, 1),
            "strides": (1, 1),
            "skips": ("pool", "identity", "none"),
            "filters": (1.25, 1.0, 0.75),
            "layers": (1, 0, -1),
        },
        {
            "base_filters": (16, 16),
            "base_layers": (2, 1),
            "strides": (2, 1),
            "skips": ("identity", "pool"),
        },
        {
            "base_filters": (8, 16),
            "base_layers": (1, 2),
            "strides": (1, 2),
            "stem": 8,
            "ses": (0.0, 0.25, 0.3),
            "divisor": 4,
        },
        {
            "base_filters": (16, 16, 16),
            "base_layers": (1, 1, 1),
            "strides": (1, 1, 1),
            "stem": 16,
            "restrictions": (
                Restriction(1, skips=("identity", "pool"), layers=(0, 1)),
                Restriction(3, filters=(1.25, 1.0), skips=("identity",)),
            ),
        },
    ],
    ids=[
        "paper-like",
        "narrow",
        "fine rounding",
        "reversed choices",
        "no none",
        "squeezes",
        "restricted",
    ],
)
def test_codes_are_canonically_equal_exactly_when_their_networks_are(settings):
    space = MnasSpace(**{**ONE_OP, **settings})
    codes_of_network = defaultdict(list)
    for code in itertools.product(*map(range, space.decision_sizes)):
        codes_of_network[network(space, space.decode(code))].append(code)
    assert len(codes_of_network) < math.prod(space.decision_sizes)
    assert len(codes_of_network) == num_networks(space)
    for codes in codes_of_network.values():
        representatives = {space.encode(space.canonical(space.decode(code))) for code in codes}
        assert representatives == {min(codes)}


def test_an_identity_that_changes_the_width_of_a_single_layer_is_spelled_none():
    lonely = uniform_arch(PAPER, skip="identity", layers=-1)
    skips = [block.skip for block in PAPER.canonical(lonely).blocks]
    assert skips == ["none", "none", "identity", "identity", "identity", "identity", "none"]


def test_whether_identity_acts_depends_on_the_block_before():
    space = MnasSpace(
        base_filters=(32, 32), base_layers=(1, 1), strides=(1, 1), filters=(1.0, 1.25)
    )
    second = BlockChoice("conv", 3, 0.0, "identity", 1.0, 0)
    same, wider = (
        Arch((BlockChoice("conv", 3, 0.0, "none", filters, 0), second)) for filters in (1.0, 1.25)
    )
    assert space.canonical(same).blocks[1].skip == "identity"
    assert space.canonical(wider).blocks[1].skip == "none"


def test_pool_is_never_idle():
    pooled = uniform_arch(PAPER, skip="pool", layers=-1)
    assert {block.skip for block in PAPER.canonical(pooled).blocks} == {"pool"}
    assert {layer.skip for layer in PAPER.spec(pooled).layers()} == {"pool"}


def test_canonical_is_idempotent_and_keeps_the_cost():
    for seed in range(50):
        arch = PAPER.sample(random.Random(seed))
        canonical = PAPER.canonical(arch)
        assert PAPER.canonical(canonical) == canonical
        assert count(PAPER.spec(canonical)) == count(PAPER.spec(arch))


def test_distinct_networks_come_once_in_their_order_until_there_are_no_more():
    few = replace(
        PAPER,
        **ONE_OP,
        skips=("none",),
        filters=(1.0,),
        restrictions=tuple(Restriction(block, layers=(0,)) for block in range(2, 8)),
    )
    found = list(few.distinct(few.samples(3), patience=50))
    assert len(found) == len(few.choices[0]["layers"]) - 1  # the first block's depth is clamped
    first = next(few.samples(3))
    assert found[0] == (few.canonical(first), few.spec(first))
    assert all(few.spec(arch) == spec for arch, spec in found)
    others = few.distinct(itertools.islice(few.samples(3), 50), known=[found[0][1]])
    assert list(others) == found[1:]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("op", "mbconv4"),
        ("kernel", 7),
        ("se", 0.5),
        ("skip", "max"),
        ("filters", 2.0),
        ("layers", 2),
    ],
)
def test_encoding_a_choice_outside_the_space_names_block_decision_value_and_limits(name, value):
    blocks = list(uniform_arch(PAPER).blocks)
    blocks[2] = uniform_arch(PAPER, **{name: value}).blocks[2]
    allowed = ", ".join(map(str, PAPER.choices[2][name]))
    with pytest.raises(UserError) as error:
        PAPER.encode(Arch(tuple(blocks)))
    assert str(error.value) == f"block 3: {name} is {value!r}, this space allows {allowed}"


def test_encoding_another_number_of_blocks_names_both_numbers():
    with pytest.raises(UserError, match="has 6 blocks, the space has 7"):
        PAPER.encode(Arch(uniform_arch(PAPER).blocks[:6]))


def test_decoding_another_number_of_indices_is_refused():
    with pytest.raises(ValueError, match="41 indices for 42 decisions"):
        PAPER.decode([0] * 41)


@pytest.mark.parametrize("index", [-1, 4])
def test_decoding_an_index_outside_its_decision_is_refused(index):
    with pytest.raises(ValueError, match=f"index 6 is {index}, its decision has 4 values"):
        PAPER.decode([0] * 6 + [index] + [0] * 35)


def test_the_centre_of_a_space_is_its_reference():
    a1 = published["mnasnet_a1"]
    centre = MnasSpace(reference="mnasnet_a1")
    assert [(b.filters, b.layers, b.stride) for b in centre.base] == [
        (stage.filters, stage.repeats, stage.stride) for stage in a1.stages
    ]
    codes = [
        (
            stage.op.replace("mbconv", f"mbconv{stage.expand}"),
            stage.kernel,
            stage.se,
            stage.skip,
            1.0,
            0,
        )
        for stage in a1.stages
    ]
    arch = Arch(tuple(BlockChoice(*code) for code in codes))
    assert list(centre.spec(arch).layers()) == list(a1.layers())
    assert count(centre.spec(arch)) == count(a1)


def test_bases_that_are_given_replace_the_references():
    space = MnasSpace(reference="mnasnet_a1", strides=(1, 1, 1, 2, 1, 2, 1))
    assert [base.stride for base in space.base] == [1, 1, 1, 2, 1, 2, 1]
    assert space.base[2].filters == 40


def test_a_restricted_block_has_only_its_values_in_the_order_of_the_space():
    limits = Restriction(3, ops=("mbconv6", "conv"), skips=("identity",), layers=(0,))
    space = MnasSpace(restrictions=(limits,))
    assert space.choices[2] == {
        "op": ("conv", "mbconv6"),
        "kernel": (3, 5),
        "se": (0.0, 0.25),
        "skip": ("identity",),
        "filters": (0.75, 1.0, 1.25),
        "layers": (0,),
    }
    assert space.choices[1] == MnasSpace().choices[1]
    assert math.prod(space.decision_sizes) == 432**6 * 24
    for seed in range(50):
        arch = space.sample(random.Random(seed))
        assert space.decode(space.encode(arch)) == arch
        assert arch.blocks[2].op in ("conv", "mbconv6")
    with pytest.raises(UserError, match="block 3: op is 'sepconv', this space allows conv, mbc"):
        space.encode(uniform_arch(PAPER, op="sepconv"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ops": ("conv", "dense")}, r"space\.ops: unknown value 'dense', allowed are conv, sepc"),
        ({"kernels": (3, 4)}, r"space\.kernels: unknown value 4, allowed are 3, 5, 7"),
        ({"skips": ("none", "max")}, r"space\.skips: unknown value 'max'"),
        ({"filters": ()}, r"space\.filters must hold at least one value"),
        ({"layers": (0, 0)}, r"space\.layers must hold at least one value and none twice"),
        ({"strides": (1, 2)}, r"same number of blocks, got 7, 7, 2"),
        ({"strides": (1, 10**400)}, r"strides is 10+, it must be a finite number and at least 1"),
        (
            {"base_filters": (16, 24)},
            r"blocks, got 2, 7, 7; those that are empty are mobilenet_v2's",
        ),
        ({"reference": "mnasnet_c1"}, r"unknown network 'mnasnet_c1'"),
        ({"restrictions": (Restriction(0),)}, r"block is 0, it must be one of 1 to 7"),
        ({"restrictions": (Restriction(8),)}, r"block is 8, it must be one of 1 to 7"),
        ({"restrictions": (Restriction(2), Restriction(2))}, r"block is 2, .* each at most once"),
        (
            {"restrictions": (Restriction(3, ops=("conv", "mbconv5")),)},
            r"restrictions, block 3, ops: unknown value 'mbconv5', allowed are conv, sepconv, mbco",
        ),
        ({"restrictions": (Restriction(3, kernels=(3, 3)),)}, r"none twice, got \(3, 3\)"),
        ({"strides": (1, 2, 2, 2, 0, 2, 1)}, r"space\.strides is 0, it must be at least 1 and at"),
        ({"base_layers": (1, -2, 3, 4, 3, 3, 1)}, r"space\.base_layers is -2"),
        ({"filters": (0.0, 1.0)}, r"space\.filters is 0\.0"),
        ({"ses": (0.0, -0.25)}, r"space\.ses is -0\.25"),
        ({"width": float("nan")}, r"space\.width is nan"),
        ({"width": float("inf")}, r"space\.width is inf"),
        ({"divisor": 0}, r"space\.divisor is 0"),
        ({"resolution": -1}, r"space\.resolution is -1"),
        ({"classes": 0}, r"space\.classes is 0"),
        (
            {"base_layers": (2**63,) * 7},
            r"space\.base_layers is 9223372036854775808, .* at most 100",
        ),
        ({"base_filters": (2**40,) * 7}, r"space\.base_filters is .* at most 65536"),
        ({"layers": (0, 10**9)}, r"space\.layers is 1000000000, .* at most 100"),
        ({"layers": (99,)}, r"space: depth of block 2 is 101, it must be at most 100"),
        ({"filters": (1e9,)}, r"space\.filters is 1000000000\.0, .* at most 100"),
        (
            {"filters": (90.0,), "width": 90.0},
            r"width of block 1 is 129600, it must be at most 65536",
        ),
        ({"width": 30.0}, r"largest network has some .* weights, it may have 5e\+09: lower width"),
        ({"ses": (1e9,)}, r"space\.ses is 1000000000\.0, .* at most 16"),
        ({"strides": (1, 2, 2, 2, 99, 2, 1)}, r"space\.strides is 99, .* at most 16"),
        ({"head": 10**12}, r"space\.head is 1000000000000, .* at most 65536"),
        ({"classes": 10**12}, r"space\.classes is 1000000000000, .* at most 1e\+06"),
        ({"resolution": 10**6}, r"space\.resolution is 1000000, .* at most 16384"),
        (
            dict.fromkeys(("base_filters", "base_layers", "strides"), (1,) * 101),
            "number of blocks is 101, it must be at most 100",
        ),
    ],
)
def test_settings_that_describe_no_space_are_refused_by_name(settings, message):
    with pytest.raises(UserError, match=message):
        MnasSpace(**settings)
