"""The cell-based space, in which all blocks take one choice."""

import dataclasses
import itertools
import random
from collections import defaultdict

import pytest

from search.paths import warmup_path
from supernet.arch_file import read_arch, write_arch
from supernet.cost.timed_layers import timed_layers, timed_layers_of_space
from supernet.display.tables import num_networks
from supernet.errors import UserError
from supernet.space.arch import Arch, Restriction
from supernet.space.mnasnet import MnasSpace
from supernet.space.stage import Layer
from tests.helpers.archs import counted_arch

CELL = MnasSpace(shared_blocks=True)
FEW = {"ops": ("conv",), "kernels": (3,), "ses": (0.0,)}


def archs_of(space):
    return list(map(space.decode, itertools.product(*map(range, space.decision_sizes))))


def computed(layer: Layer) -> tuple:
    """What a layer computes, however its squeeze is spelt."""
    return *dataclasses.astuple(dataclasses.replace(layer, se=0.0)), layer.se_hidden


def network(space, arch):
    return tuple(map(computed, space.spec(arch).layers()))


def test_six_decisions_are_taken_by_all_blocks_around_their_own_bases():
    assert CELL.decision_sizes == MnasSpace().decision_sizes[:6]
    code = CELL.encode(arch := next(CELL.samples(seed=1)))
    assert len(code) == 6
    assert CELL.decode(code) == arch
    assert arch.blocks == (arch.blocks[0],) * 7
    plain = MnasSpace().spec(arch)
    assert CELL.spec(arch) == plain
    assert len({stage.filters for stage in plain.stages}) == 7


@pytest.mark.parametrize(
    ("settings", "networks"),
    [
        ({}, 27),
        ({"width": 0.1, "filters": (1.0, 0.9, 0.75, 1.1)}, 27),
        ({"base_layers": (1,) * 7, "skips": ("identity", "none", "pool")}, 15),
        ({"base_layers": (1, 1, 2, 1, 1, 1, 1), "layers": (0, -1, 1), "width": 0.5}, 25),
        ({"ses": (0.25, 0.0, 0.26, 0.3), "width": 0.1, "base_layers": (1,) * 7}, 48),
        ({"strides": (1,) * 3, "base_filters": (32,) * 3, "base_layers": (1,) * 3}, 18),
    ],
    ids=["paper-like", "narrow", "shallow", "one is deep", "squeezes", "one base"],
)
def test_codes_are_canonically_equal_exactly_when_their_networks_are(settings, networks):
    space, spellings = MnasSpace(shared_blocks=True, **FEW | settings), defaultdict(list)
    for arch in archs_of(space):
        spellings[network(space, arch)].append(arch)
    assert len(spellings) == num_networks(space) == networks
    for some in spellings.values():
        assert {space.canonical(one) for one in some} == {min(some, key=space.encode)}


def test_the_papers_cell_space_holds_432_networks():
    assert num_networks(CELL) == 432


def test_blocks_that_differ_and_restrictions_of_single_blocks_are_refused():
    blocks = CELL.decode((0,) * 6).blocks
    with pytest.raises(UserError, match="block 3: op is 'mbconv6', but block 1's is 'conv': all"):
        CELL.encode(Arch((*blocks[:2], *CELL.decode((3, *(0,) * 5)).blocks[2:])))
    with pytest.raises(UserError, match=r"space\.restrictions hold single blocks .* drop one"):
        MnasSpace(shared_blocks=True, restrictions=(Restriction(1, ops=("conv",)),))


@pytest.mark.parametrize(
    "settings",
    [
        {"width": 0.1},
        {"filters": (0.5, 2.0), "divisor": 1},
        {"ops": ("sepconv", "mbconv2", "mbconv5"), "layers": (-1, 0, 1, 2)},
    ],
)
def test_the_timed_layers_are_those_of_its_networks(settings):
    space = MnasSpace(shared_blocks=True, kernels=(3,), ses=(0.0,), **settings)
    specs = map(space.spec, archs_of(space))
    layers = timed_layers_of_space(space)
    assert len(set(layers)) == len(layers)
    assert set(layers) == {
        layer for spec in specs for layer in timed_layers(dataclasses.replace(spec))
    }


def test_a_warm_up_path_shares_what_it_mixes():
    rng = random.Random(0)
    for probability in (0.5, 1.0):
        path = warmup_path(CELL.sample(rng), CELL, probability, rng)
        assert path.blocks == (path.blocks[0],) * 7
    assert "+" in path.blocks[0].op


def test_arch_json_lists_all_blocks_and_gives_the_space_back(tmp_path):
    written = counted_arch(CELL, next(CELL.samples(seed=0)))
    write_arch(path := tmp_path / "arch.json", written)
    assert read_arch(path) == written
    assert path.read_text().count('"op": "mbconv6"') == 7
    path.write_text(path.read_text().replace('"op": "mbconv6"', '"op": "mbconv3"', 1))
    with pytest.raises(UserError, match="block 2: op is 'mbconv6', but block 1's is 'mbconv3'"):
        read_arch(path)


def test_other_spaces_are_spelt_as_they_were_before():
    fields = {field.name for field in dataclasses.fields(MnasSpace)}
    assert fields - MnasSpace().plain().keys() == {"shared_blocks"}
    assert CELL.plain()["shared_blocks"] is True
