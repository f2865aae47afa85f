"""Counts of networks: those of tables are those of the networks."""

from itertools import islice

import pytest
import torch

from search.surrogate.counts import LAYERS, PARAMETERS, counts_of
from supernet.cost.counts import count
from supernet.space.arch import Restriction
from supernet.space.mnasnet import MnasSpace
from tests.helpers.planted import PLAIN, counts_in

SPACES = {
    "paper": MnasSpace(),
    "plain": PLAIN,
    "restricted": MnasSpace(
        width=0.35,
        resolution=16,
        classes=10,
        stem_stride=1,
        ops=("sepconv", "mbconv4"),
        restrictions=(Restriction(1, ops=("sepconv",)), Restriction(7, filters=(1.0, 1.25))),
    ),
}


def rows_of(space, archs):
    return torch.tensor([space.encode(arch) for arch in archs])


@pytest.mark.parametrize("name", SPACES)
def test_tabulated_counts_are_those_of_each_network(name):
    space = SPACES[name]
    counts, archs = counts_in(space), list(islice(space.samples(3), 100))
    for arch, row in zip(archs, counts.of(rows_of(space, archs)).tolist(), strict=True):
        named = counts_of(space.spec(arch))
        assert named.keys() <= set(counts.names)
        assert row == pytest.approx([named.get(one, 0.0) for one in counts.names])


@pytest.mark.parametrize("name", SPACES)
def test_spellings_of_one_network_count_alike(name):
    space = SPACES[name]
    counts, archs = counts_in(space), list(islice(space.samples(4), 100))
    canonical = [space.canonical(arch) for arch in archs]
    found, expected = (counts.of(rows_of(space, some)) for some in (archs, canonical))
    torch.testing.assert_close(found, expected)


def test_a_network_is_counted_as_its_layers_say():
    spec = PLAIN.spec(next(iter(PLAIN.samples(0))))
    layers = [layer for block in spec.stage_layers() for layer in block]
    found = counts_of(spec)
    assert found[LAYERS] == len(layers)
    assert found[PARAMETERS] == count(spec).params
    for first, attribute in (("shortcut", "skip"), ("kernel", "kernel")):
        for value in {getattr(layer, attribute) for layer in layers}:
            expected = sum(getattr(layer, attribute) == value for layer in layers)
            assert found[f"{first} {value}"] == expected


def test_what_a_block_adds_depends_on_that_block_and_the_width_before_it():
    """Two changes far from each other add up, so that the best network can be found exactly."""
    space = SPACES["paper"]
    counts, blocks = counts_in(space), torch.tensor(codes(space)).view(-1, 7, 6)
    one, other = blocks[:50].clone(), blocks[50:]
    first, last = one.clone(), one.clone()
    first[:, 0, :4], last[:, 6, :4] = other[:, 0, :4], other[:, 6, :4]  # no filters, no layers
    both = first.clone()
    both[:, 6, :4] = other[:, 6, :4]
    none, first, last, both = (counts.of(some.flatten(1)) for some in (one, first, last, both))
    torch.testing.assert_close(both - none, first - none + last - none)
    assert (first != none).any(dim=1).float().mean() > 0.9


def codes(space):
    return [space.encode(arch) for arch in islice(space.samples(7), 100)]
