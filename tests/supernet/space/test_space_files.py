"""The shipped spaces: their files, their exact sizes, and that every network in them is real."""

import dataclasses
import itertools
import math
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from supernet.cost.counts import Cost, count
from supernet.display.tables import num_networks
from supernet.errors import UserError
from supernet.network.network import Network
from supernet.space.arch import Arch, BlockChoice
from supernet.space.mnasnet import MnasSpace, read_space
from supernet.space.published import published
from supernet.space.spec import NetSpec

FOLDER = Path(__file__).parents[3] / "configs" / "spaces"
SPACES = {path.stem: read_space(path) for path in sorted(FOLDER.glob("*.yaml"))}
BUILT = sorted(set(SPACES) - {"cifar_small", "no_se"})
"""Spaces whose networks are computed: the others hold nothing that these do not."""


def few_and_many(few: int, many: int):
    """Some in every run of the tests, as many as the space deserves in the slow ones."""
    return pytest.mark.parametrize("number", [few, pytest.param(many, marks=pytest.mark.slow)])


def networks(name: str, number: int) -> list[NetSpec]:
    space, rng = SPACES[name], random.Random(number)
    return [space.spec(space.sample(rng)) for _ in range(number)]


def test_the_spaces_that_the_page_lists_are_there():
    own = {"cifar", "cifar_small", "digits", "clutter"}
    assert set(SPACES) == {"paper", "mnasnet_a1", "no_se", "published"} | own


@pytest.mark.parametrize("name", SPACES)
def test_a_file_names_every_setting_so_that_it_overrides_all_of_a_config(name):
    written = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    assert set(written) == {field.name for field in dataclasses.fields(MnasSpace)}


def test_what_a_file_leaves_out_is_the_papers(tmp_path):
    path = tmp_path / "narrow.yaml"
    path.write_text("width: 0.5\nrestrictions: [{block: 1, ops: [sepconv]}]\n")
    space = read_space(path)
    assert (space.width, space.kernels) == (0.5, (3, 5))
    assert space.choices[0]["op"] == ("sepconv",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kernels: [3, 4]", "space.kernels: unknown value 4, allowed are 3, 5, 7"),
        ("kernel: [3]", "unknown field space.'kernel', allowed are ops, kernels"),
        ("width: wide", "space.width is 'wide', it must be a finite number"),
        ("width: true", "space.width is True, it must be a finite number"),
        ("restrictions: [{ops: [conv]}]", "field space.restrictions[1].block is missing"),
        ("restrictions: [{block: 9}]", "block is 9, it must be one of 1 to 7"),
        ("[1, 2", "cannot read"),
        ("", "space is None, it must be a JSON object"),
    ],
)
def test_a_broken_file_is_refused_in_one_line_that_names_it(tmp_path, text, message):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_space(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_space_is_found_by_its_name_and_another_refused_with_those_that_there_are():
    assert read_space("spaces/paper") == SPACES["paper"]
    said = r"^none\.yaml is no file, and no config of that name ships; closest are "
    with pytest.raises(UserError, match=said):
        read_space("none.yaml")


def test_the_files_are_the_spaces_that_their_names_say():
    assert SPACES["paper"] == MnasSpace(
        base_filters=(16, 24, 32, 64, 96, 160, 320),
        base_layers=(1, 2, 3, 4, 3, 3, 1),
        strides=(1, 2, 2, 2, 1, 2, 1),
    )
    assert SPACES["paper"].base == MnasSpace().base
    assert SPACES["mnasnet_a1"].base == MnasSpace(reference="mnasnet_a1").base
    assert SPACES["no_se"] == dataclasses.replace(SPACES["paper"], ses=(0.0,))
    assert SPACES["cifar"].spec(SPACES["cifar"].sample(random.Random(0))).final_size == 4


def test_a1_is_the_centre_of_its_space():
    blocks = [
        BlockChoice(s.op.replace("mbconv", f"mbconv{s.expand}"), s.kernel, s.se, s.skip, 1.0, 0)
        for s in published["mnasnet_a1"].stages
    ]
    space = SPACES["mnasnet_a1"]
    assert count(space.spec(Arch(tuple(blocks)))) == Cost(3_887_038, 311_579_072)


# Per block: 16 ways of op, kernel and SE; distinct widths; and for each depth, 3 skips, but 2 where
# a single layer strides or widens. Block 1 has 2 widths of 1 or 2 layers, block 2 has 2 of 1 to 3,
# block 7 has 3 of 1 or 2; the others 3 of at least two layers.
PAPER = (16 * 2 * 5) * (16 * 2 * 8) * 432**4 * (16 * 3 * 5)


@pytest.mark.parametrize(
    ("name", "distinct"),
    [
        ("paper", PAPER),
        ("no_se", PAPER // 2**7),
        # One of A1's blocks between others may have a single layer: 8 of 9 depths with skips.
        ("mnasnet_a1", PAPER * 8 // 9),
        # Block 2 does not stride: behind 24 channels a single layer of 24 may have the identity.
        ("cifar", PAPER * (8 * 2 + 9 + 8) // (8 * 4)),
        # At 0.35 times the widths, blocks 1 to 3 have 1, 2 and 2 distinct ones.
        ("digits", (16 * 1 * 5) * (16 * 2 * 8) * (16 * 2 * 9) * 432**3 * (16 * 3 * 5)),
        # In blocks 1, 3, 5 and 7 a single layer may have the identity behind its own width.
        ("clutter", 16**7 * (6 + 5) * 15 * (8 + 8 + 9) * 8 * (25 + 24 + 24) * 5 * (15 + 16 + 16)),
    ],
)
def test_the_number_of_distinct_networks_is_exact(name, distinct):
    space = SPACES[name]
    assert math.prod(space.decision_sizes) == (216 if name == "no_se" else 432) ** 7
    assert num_networks(space) == distinct


@pytest.mark.parametrize("name", SPACES)
@few_and_many(8, 100)
def test_constructed_duplicates_have_one_canonical_code(name, number):
    space, rng, found = SPACES[name], random.Random(1), 0
    for _ in range(number):
        arch = space.canonical(space.sample(rng))
        layers = list(space.spec(arch).stage_layers())
        for other in neighbours(space, arch):
            same = list(space.spec(other).stage_layers()) == layers
            assert (space.canonical(other) == arch) is same
            found += same
    assert found > number


def neighbours(space: MnasSpace, arch: Arch) -> Iterator[Arch]:
    """Codes with another skip, width or depth in one block; some are the same network."""
    for number, block in enumerate(arch.blocks):
        choices = space.choices[number]
        for values in itertools.product(choices["skip"], choices["filters"], choices["layers"]):
            changes = dict(zip(("skip", "filters", "layers"), values, strict=True))
            choice = dataclasses.replace(block, **changes)
            if choice != block:
                yield Arch((*arch.blocks[:number], choice, *arch.blocks[number + 1 :]))


@pytest.mark.parametrize("name", BUILT)
@few_and_many(4, 1000)
def test_the_closed_form_counts_what_is_built(name, number, counted):
    for spec in networks(name, number):
        with torch.device("meta"):
            network = Network(spec)
        assert counted(network, spec.resolution) == count(spec)


@pytest.mark.parametrize("name", SPACES)
@few_and_many(40, 1000)
def test_json_and_block_strings_give_networks_back(name, number):
    space = SPACES[name]
    for spec in networks(name, number):
        assert NetSpec.from_json(spec.to_json()) == spec
        assert spec == NetSpec.from_block_strings(
            spec.block_strings(),
            stem_stride=space.stem_stride,
            classes=space.classes,
            resolution=space.resolution,
            head=space.head,
        )


@pytest.mark.parametrize("resolution", [32, 64])
@pytest.mark.parametrize("name", BUILT)
@few_and_many(2, 30)
def test_networks_run_forward_and_backward(name, resolution, number):
    for spec in networks(name, number):
        network = Network(spec.scaled(resolution=resolution))
        logits = network(torch.randn(2, 3, resolution, resolution))
        assert logits.shape == (2, spec.classes)
        logits.logsumexp(1).sum().backward()
        for parameter in network.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()


def members(space: MnasSpace, spec: NetSpec) -> list[list[BlockChoice]]:
    """For each block the choices that are exactly the network's stage."""
    found = []
    for number, layers in enumerate(spec.stage_layers()):
        first = layers[0]
        found.append(
            [
                choice
                for choice in space.block_choices(number)
                if list(space.stage(number, choice).layers(first.inputs, first.size)) == layers
            ]
        )
    return found


@pytest.mark.parametrize(
    ("name", "outside"),
    [
        ("mnasnet_a1", [5]),
        ("mnasnet_b1", [6]),
        ("mnasnet_small", [1, 2, 3, 4, 5, 6, 7]),
        ("mobilenet_v2", []),
    ],
)
def test_no_published_mnasnet_lies_in_the_papers_space(name, outside):
    found = members(SPACES["paper"], published[name])
    assert [number for number, choices in enumerate(found, 1) if not choices] == outside


def test_the_published_networks_lie_in_the_space_that_has_their_widths():
    space = SPACES["published"]
    for name in ("mnasnet_a1", "mnasnet_b1", "mobilenet_v2"):
        found = members(space, published[name])
        assert all(found), name
        spec = space.spec(Arch(tuple(choices[0] for choices in found)))
        assert list(spec.layers()) == list(published[name].layers())
        assert count(spec) == count(published[name])


def test_the_blocks_of_efficientnet_b0_lie_there_too():
    strings = ["r1_k3_s11_e1_i32_o16_se0.25", "r2_k3_s22_e6_i16_o24_se0.25"]
    strings += ["r2_k5_s22_e6_i24_o40_se0.25", "r3_k3_s22_e6_i40_o80_se0.25"]
    strings += ["r3_k5_s11_e6_i80_o112_se0.25", "r4_k5_s22_e6_i112_o192_se0.25"]
    strings += ["r1_k3_s11_e6_i192_o320_se0.25"]
    assert all(members(SPACES["published"], NetSpec.from_block_strings(strings)))


@pytest.mark.parametrize(
    ("name", "block", "filters", "params", "millions"),
    [
        ("mnasnet_a1", 5, 1.25, 3_945_250, 319.4),
        ("mnasnet_a1", 5, 1.0, 3_779_830, 297.3),
        ("mnasnet_b1", 6, 1.25, 4_539_856, 322.0),
        ("mnasnet_b1", 6, 1.0, 3_810_896, 286.5),
    ],
)
def test_the_nearest_members_differ_in_one_width(name, block, filters, params, millions):
    space, spec = SPACES["paper"], published[name]
    choices = [found[0] if found else None for found in members(space, spec)]
    stage = spec.stages[block - 1]
    choices[block - 1] = BlockChoice(
        f"mbconv{stage.expand}",
        stage.kernel,
        stage.se,
        stage.skip,
        filters,
        stage.repeats - space.base[block - 1].layers,
    )
    cost = count(space.spec(Arch(tuple(choices))))
    assert (cost.params, round(cost.macs / 1e6, 1)) == (params, millions)
