"""Latency tables: what is measured, how, and what is predicted from it.

Nothing here asserts a wall-clock time.
"""

import dataclasses
import itertools
import math
import random

import numpy as np
import pytest

from supernet.arch import Arch
from supernet.errors import UserError
from supernet.latency.build import QUICK, middle, plan
from supernet.latency.measuring import PARTS, Bench, Turns, estimate
from supernet.parts import Head, Stem, parts, space_layers, space_parts
from supernet.published import published_spec
from supernet.space import MnasSpace
from tests.synthetic_device import TINY, SyntheticDevice, build, true_ms

DIGITS = MnasSpace(width=0.35, stem_stride=1, resolution=16, classes=10)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Exact, of TINY."""
    return build(tmp_path_factory.mktemp("tables"))


def every_layer(space):
    choices = map(space.block_choices, range(space.num_blocks))
    archs = map(Arch, itertools.product(*choices))
    return {layer for arch in archs for layer in space.spec(arch).layers()}


# --- the parts of a space ---------------------------------------------------------------------


def test_layers_of_a_small_space_are_those_of_all_its_networks():
    layers = space_layers(TINY)
    assert set(layers) == every_layer(TINY)
    assert len(set(layers)) == len(layers)


@pytest.mark.parametrize(("space", "layers"), [(MnasSpace(), 2448), (DIGITS, 1936)])
def test_parts_of_a_large_space_hold_those_of_sampled_networks(space, layers):
    known, rng = set(space_parts(space)), random.Random(0)
    assert len(space_layers(space)) == layers
    for _ in range(200):
        assert known.issuperset(parts(space.spec(space.sample(rng))))


def test_parts_have_keys_of_their_own():
    known = space_parts(MnasSpace())
    assert len({part.key for part in known}) == len(known)


def test_a_network_has_two_ends_and_all_its_layers():
    spec = published_spec("mnasnet_a1")
    stem, head, *layers = parts(spec)
    assert isinstance(stem, Stem)
    assert isinstance(head, Head)
    assert len(layers) == sum(stage.repeats for stage in spec.stages)


# --- the protocol -----------------------------------------------------------------------------


def test_subjects_take_turns_with_the_reference_in_between():
    device, rng = SyntheticDevice(), random.Random(0)
    subjects = space_parts(TINY)[:20]
    turns = Turns(group_size=10, chunk=4)
    bench = Bench(device, middle(TINY), rng)
    session = bench.measure(subjects, turns, math.inf, 5, lambda _: None)
    assert [len(load) for load in device.loads] == [11, 11]
    assert len(device.orders) == 10
    for order in device.orders:
        assert sorted(i for i in order if i) == list(range(1, 11))
        assert [place for place, i in enumerate(order) if i == 0] == [0, 5, 10]
    assert len({tuple(order) for order in device.orders}) > 5
    assert {key for group in session.groups for key in group.keys} == {p.key for p in subjects}


def test_time_that_is_over_ends_the_visits_but_never_before_a_few():
    clock = itertools.count().__next__
    bench = Bench(SyntheticDevice(), middle(TINY), random.Random(0), lambda: float(clock()))
    told = []
    session = bench.measure(space_parts(TINY)[:4], PARTS, 1.0, 100, told.append)
    assert session.groups[0].times.shape == (3, 4, 2)
    assert sum(told) == pytest.approx(1.0)
    session = bench.measure(space_parts(TINY)[:4], PARTS, 40.0, 100, told.append)
    assert 3 < len(session.groups[0].times) < 40
    assert sum(told) == pytest.approx(41.0)


def test_interruptions_and_a_slower_session_change_no_estimate_by_more_than_the_noise():
    device = SyntheticDevice(noise=0.02, spikes=0.3)
    bench = Bench(device, middle(TINY), random.Random(0))
    sessions = []
    for slowness in (1.0, 1.5):
        device.slowness = slowness
        sessions.append(bench.measure(space_parts(TINY), PARTS, math.inf, 40, lambda _: None))
    for times in estimate(sessions):
        ratio = [times[p.key].later / (1.2 * true_ms(p) + 0.03) for p in space_parts(TINY)]
        assert np.abs(np.array(ratio) / 1.25 - 1).max() < 0.05


# --- the table --------------------------------------------------------------------------------


def test_an_additive_device_without_noise_is_predicted_exactly(table):
    for arch in (TINY.sample(random.Random(seed)) for seed in range(20)):
        spec = TINY.spec(arch)
        assert table.predict(spec) == pytest.approx(sum(map(true_ms, parts(spec))), rel=1e-6)
    assert table.held_out.networks >= 10
    assert table.held_out.mape < 1e-6
    assert table.held_out.noise < 1e-12
    assert table.held_out.within_10 == 1.0
    assert table.held_out.kendall_tau == pytest.approx(1.0)


def test_a_noisy_device_is_predicted_within_its_noise(tmp_path):
    device = SyntheticDevice(noise=0.05, spikes=0.2)
    table = build(tmp_path, device)
    assert 0 < table.held_out.noise < 0.05
    assert table.held_out.mape < 0.05
    assert table.held_out.kendall_tau > 0.8


def test_held_out_networks_calibrate_nothing():
    chosen = plan(TINY, [middle(TINY)], QUICK)
    assert not set(chosen.calibration) & set(chosen.held_out)
    assert middle(TINY) in chosen.calibration
    assert len(chosen.held_out) == QUICK.held_out


def test_prediction_is_ends_plus_layers(table):
    spec = middle(TINY)
    layers = sum(table.layer_cost(layer, "relu") for layer in spec.layers())
    assert table.predict(spec) == pytest.approx(table.ends_cost(spec) + layers, rel=1e-12)


def test_references_can_be_predicted_and_other_networks_name_the_missing_layer(table, tmp_path):
    spec = published_spec("mobilenet_v2").scaled(resolution=32, classes=10)
    assert build(tmp_path, references=[spec]).predict(spec) > 0
    with pytest.raises(UserError, match=r"holds no stem_k3_s2_o32_px32_relu6: .* references"):
        table.predict(spec)


def test_a_space_of_too_few_networks_is_refused(tmp_path):
    alone = dataclasses.replace(
        TINY, ops=("conv",), kernels=(3,), ses=(0.0,), skips=("none",), filters=(1.0,), layers=(0,)
    )
    with pytest.raises(UserError, match=r"1 networks .* needs 8"):
        build(tmp_path, space=alone)
