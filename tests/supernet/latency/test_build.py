"""Latency tables: what is measured, how, and what is predicted from it.

Nothing here asserts a wall-clock time.
"""

import dataclasses
import itertools
import random

import numpy as np
import pytest

from supernet.cost.timed_layers import Head, StageLayer, Stem, timed_layers, timed_layers_of_space
from supernet.errors import UserError
from supernet.latency.table.bench import LAYERS, NETWORKS, Bench, SubjectKind
from supernet.latency.table.plan import QUICK, middle_network, plan_measurements
from supernet.space.arch import Arch
from supernet.space.mnasnet import MnasSpace
from supernet.space.published import published_spec
from tests.helpers.synthetic_device import TINY, SyntheticDevice, build, true_ms

DIGITS = MnasSpace(width=0.35, stem_stride=1, resolution=16, classes=10)


@pytest.fixture(scope="module")
def table(exact):
    """Exact, of TINY."""
    return build(exact)


def every_layer(space):
    choices = map(space.block_choices, range(space.num_blocks))
    archs = map(Arch, itertools.product(*choices))
    return {layer for arch in archs for layer in space.spec(arch).layers()}


def stage_layers(space):
    return [one.layer for one in timed_layers_of_space(space) if isinstance(one, StageLayer)]


# --- the parts of a space ---------------------------------------------------------------------


def test_layers_of_a_small_space_are_those_of_all_its_networks():
    layers = stage_layers(TINY)
    assert set(layers) == every_layer(TINY)
    assert len(set(layers)) == len(layers)


@pytest.mark.parametrize(("space", "layers"), [(MnasSpace(), 2448), (DIGITS, 1936)])
def test_parts_of_a_large_space_hold_those_of_sampled_networks(space, layers):
    known, rng = set(timed_layers_of_space(space)), random.Random(0)
    assert len(stage_layers(space)) == layers
    for _ in range(200):
        assert known.issuperset(timed_layers(space.spec(space.sample(rng))))


def test_parts_have_keys_of_their_own():
    known = timed_layers_of_space(MnasSpace())
    assert len({part.key for part in known}) == len(known)


def test_a_network_has_two_ends_and_all_its_layers():
    spec = published_spec("mnasnet_a1")
    stem, head, *layers = timed_layers(spec)
    assert isinstance(stem, Stem)
    assert isinstance(head, Head)
    assert len(layers) == sum(stage.repeats for stage in spec.stages)


# --- the protocol -----------------------------------------------------------------------------


def test_subjects_take_turns_with_the_reference_in_between():
    device = SyntheticDevice()
    subjects = timed_layers_of_space(TINY)[:20]
    bench = Bench(device, middle_network(TINY))
    kind = SubjectKind("parts", group_size=10, chunk=4)
    session = bench.measure(kind, 0, subjects, 5)
    assert [len(load) for load in device.loads] == [11, 11]
    assert len(device.orders) == 10
    for order in device.orders:
        assert sorted(i for i in order if i) == list(range(1, 11))
        assert [place for place, i in enumerate(order) if i == 0] == [0, 5, 10]
    assert len({tuple(order) for order in device.orders}) > 5
    assert {key for group in session for key in group.keys} == {p.key for p in subjects}


def test_time_that_is_over_ends_the_visits_but_never_before_a_few():
    clock = itertools.count().__next__
    told = []
    bench = Bench(
        SyntheticDevice(), middle_network(TINY), progress=told.append, clock=lambda: float(clock())
    )
    session = bench.measure(LAYERS, 0, timed_layers_of_space(TINY)[:4], 100, 1.0)
    assert session[0].times.shape == (3, 4, 2)
    assert sum(told) == pytest.approx(4.0), "three rounds and loading"
    session = bench.measure(LAYERS, 1, timed_layers_of_space(TINY)[:4], 100, 40.0)
    assert len(session[0].times) == 40
    assert sum(told) == pytest.approx(45.0)


def test_a_loud_time_is_waited_out_and_does_not_count():
    device, clock = SyntheticDevice(), itertools.count().__next__
    bench = Bench(device, middle_network(TINY), clock=lambda: float(clock()))
    bench.measure(LAYERS, 0, timed_layers_of_space(TINY)[:4], 100, 20.0)
    device.slowness, visit = 1.5, device.visit

    def until_it_is_quiet(order):
        device.slowness = 1.5 if len(device.orders) < 32 else 1.0
        return visit(order)

    device.visit = until_it_is_quiet
    session = bench.measure(LAYERS, 1, timed_layers_of_space(TINY)[:4], 100, 10.0)
    assert len(session[0].times) == 15, "12 loud rounds, then 3 quiet ones"
    mean = bench.estimates(LAYERS, [session]).mean
    for part in timed_layers_of_space(TINY)[:4]:
        assert mean(part).later == pytest.approx(1.2 * true_ms(part) + 0.03)


def test_waiting_for_quiet_also_goes_beyond_a_number_of_rounds_but_not_for_ever():
    device = SyntheticDevice()
    bench, subjects = Bench(device, middle_network(TINY)), timed_layers_of_space(TINY)[:4]
    bench.measure(LAYERS, 0, subjects, 10)
    device.slowness = 1.5
    session = bench.measure(LAYERS, 1, subjects, 10)
    assert len(session[0].times) == 30
    networks = bench.measure(NETWORKS, 0, [middle_network(TINY)], 10)
    assert len(networks[0].times) == 10, "which have a quiet level of their own"


def test_waiting_is_not_charged_to_the_groups_that_come_after():
    device, clock = SyntheticDevice(), itertools.count().__next__
    bench = Bench(device, middle_network(TINY), clock=lambda: float(clock()))
    kind = SubjectKind("parts", group_size=4, chunk=4)
    bench.measure(kind, 0, timed_layers_of_space(TINY)[:4], 100, 40.0)
    visit, quiet_from = device.visit, len(device.orders) + 30

    def loud_at_first(order):
        device.slowness = 1.5 if len(device.orders) < quiet_from else 1.0
        return visit(order)

    device.visit = loud_at_first
    session = bench.measure(kind, 1, timed_layers_of_space(TINY)[:8], 100, 20.0)
    assert [len(group.times) for group in session] == [30, 10]


def test_where_it_is_never_quiet_all_rounds_count_and_are_scaled():
    device = SyntheticDevice()
    bench, rounds = Bench(device, middle_network(TINY)), 10
    sessions = []
    for number, slowness in enumerate((1.0, 1.5)):
        device.slowness = slowness
        sessions.append(bench.measure(LAYERS, number, timed_layers_of_space(TINY), rounds))
    mean = bench.estimates(LAYERS, sessions[1:]).mean
    for part in timed_layers_of_space(TINY):
        assert mean(part).later == pytest.approx(1.2 * true_ms(part) + 0.03)


def test_interruptions_change_no_estimate_by_more_than_the_noise():
    device = SyntheticDevice(noise=0.02, spikes=0.3)
    bench = Bench(device, middle_network(TINY))
    session = bench.measure(LAYERS, 0, timed_layers_of_space(TINY), 40)
    mean = bench.estimates(LAYERS, [session]).mean
    ratio = [mean(p).later / (1.2 * true_ms(p) + 0.03) for p in timed_layers_of_space(TINY)]
    assert np.ptp(np.log(ratio)) < 0.06


# --- the table --------------------------------------------------------------------------------


def test_an_additive_device_without_noise_is_predicted_exactly(table):
    for arch in (TINY.sample(random.Random(seed)) for seed in range(20)):
        spec = TINY.spec(arch)
        assert table.predict(spec) == pytest.approx(sum(map(true_ms, timed_layers(spec))), rel=1e-5)
    validation = table.validation
    assert validation.networks >= 10
    assert validation.predicted.mape < 1e-5
    assert validation.noise.floor < 1e-4, "times are kept to 10 ns"
    assert validation.predicted.within_5 == 1.0
    assert validation.predicted.kendall_tau == pytest.approx(1.0)


def test_a_noisy_device_is_predicted_within_its_noise(tmp_path):
    table = build(tmp_path, SyntheticDevice(noise=0.05, spikes=0.2))
    assert 0 < table.validation.noise.floor < 0.03
    assert table.validation.own_error < 0.03
    assert table.validation.predicted.kendall_tau > 0.8


def test_held_out_networks_calibrate_nothing():
    plan = plan_measurements(TINY, [middle_network(TINY)], QUICK)
    assert not set(plan.calibration) & set(plan.held_out)
    assert plan.references == [middle_network(TINY)]
    assert len(plan.held_out) == QUICK.held_out


def test_prediction_is_ends_plus_layers(table):
    spec = middle_network(TINY)
    layers = sum(table.layer_cost(layer, "relu") for layer in spec.layers())
    assert table.predict(spec) == pytest.approx(table.stem_and_head_cost(spec) + layers, rel=1e-12)


def test_a_reference_is_what_was_measured_and_other_networks_name_the_missing_layer(
    table, tmp_path
):
    spec = published_spec("mobilenet_v2").scaled(resolution=32, classes=10)
    predicted = build(tmp_path, references=[spec]).predict(spec)
    assert predicted == pytest.approx(sum(map(true_ms, timed_layers(spec))))
    with pytest.raises(UserError, match=r"holds no stem_k3_s2_o32_px32_relu6: .* published"):
        table.predict(spec)


def test_a_space_of_too_few_networks_is_refused(tmp_path):
    alone = dataclasses.replace(
        TINY, ops=("conv",), kernels=(3,), ses=(0.0,), skips=("none",), filters=(1.0,), layers=(0,)
    )
    with pytest.raises(UserError, match=r"1 networks .* needs 8"):
        build(tmp_path, space=alone)
