"""Latency tables: what is measured, how, and what is left when something goes wrong.

A synthetic additive device stands in for the machine; nothing here asserts a wall-clock time.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from supernet.arch import Arch
from supernet.cost import count_layer
from supernet.errors import UserError
from supernet.latency import table_for
from supernet.measuring import PARTS, Bench, Turns, estimate
from supernet.parts import Body, Head, Stem, parts, space_layers, space_parts
from supernet.published import published_spec
from supernet.space import MnasSpace
from supernet.spec import NetSpec
from supernet.table import LatencyTable
from supernet.table_build import FULL, QUICK, middle, plan

TINY = MnasSpace(
    ops=("conv", "mbconv3"), kernels=(3, 5), ses=(0.0, 0.25), skips=("none", "identity", "pool"),
    filters=(0.75, 1.25), layers=(0, 1), base_filters=(16, 32), base_layers=(1, 2),
    strides=(1, 2), resolution=8, stem_stride=1, stem=16, head=32, classes=10,
)  # fmt: skip
DIGITS = MnasSpace(width=0.35, stem_stride=1, resolution=16, classes=10)


@functools.cache
def true_ms(part):
    """What a part adds to a network on the synthetic device."""
    if isinstance(part, NetSpec):
        return sum(map(true_ms, parts(part)))
    if isinstance(part, Body):
        return 0.02 + 2e-6 * count_layer(part.layer).macs + 0.01 * (part.layer.skip == "pool")
    return 0.05 + 1e-5 * part.outputs


class SyntheticDevice:
    """Adds parts up; alone a part costs a call more, and its first run twice as much.

    Args:
        noise: standard deviation of the logarithm of a run's time.
        spikes: share of the runs that something interrupts.
    """

    def __init__(self, noise=0.0, spikes=0.0):
        self.noise, self.spikes = noise, spikes
        self.rng = np.random.default_rng(0)
        self.slowness, self.subjects, self.orders, self.loads = 1.0, [], [], []

    def load(self, subjects):
        self.subjects = list(subjects)
        self.loads.append(self.subjects)

    def visit(self, order, runs):
        self.orders.append(list(order))
        return [[self._run(self.subjects[i], run) for run in range(runs)] for i in order]

    def _run(self, subject, run):
        alone = not isinstance(subject, NetSpec)
        ms = 1.2 * true_ms(subject) + 0.03 if alone else true_ms(subject)
        ms *= self.slowness * (2.0 if run == 0 else 1.0)
        ms *= np.exp(self.noise * self.rng.standard_normal())
        return float(ms * (5 if self.rng.random() < self.spikes else 1))


def build(folder, device=None, space=TINY, **options):
    device = device or SyntheticDevice()
    return table_for(
        space, options.pop("references", []), folder, progress=False,
        machine=lambda: contextlib.nullcontext(device), **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder with the exact table of TINY."""
    folder = tmp_path_factory.mktemp("tables")
    build(folder)
    return folder


@pytest.fixture
def folder(cache, tmp_path):
    """A copy of that folder, to spoil."""
    return shutil.copytree(cache, tmp_path / "tables")


@pytest.fixture
def table(cache):
    return table_for(TINY, [], cache, machine=refuse)


def refuse():
    raise AssertionError("a cached table must not be measured again")


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


# --- files ------------------------------------------------------------------------------------


def test_a_saved_table_loads_as_it_was(table, tmp_path):
    table.save(tmp_path / "table.json")
    loaded = LatencyTable.load(tmp_path / "table.json")
    assert loaded == table
    assert loaded.hash == table.hash
    assert len(table.hash) == 64
    assert "onnxruntime" in loaded.device


def test_the_hash_tells_tables_apart(table):
    key = next(iter(table.entries))
    other = dataclasses.replace(table, entries={**table.entries, key: (1.0, 2.0)})
    assert other.hash != table.hash


def test_a_table_is_measured_once_for_a_space_and_its_references(table, folder):
    assert table_for(TINY, [], folder, machine=refuse) == table
    for options in (
        {"space": dataclasses.replace(TINY, resolution=16)},
        {"references": [middle(dataclasses.replace(TINY, stem=8))]},
        {"quick": False},
    ):
        device = SyntheticDevice()
        build(folder, device, **options)
        assert device.loads, options
    assert len(list(folder.glob("*.json"))) == 4


def test_a_full_table_also_serves_quick_calls(tmp_path):
    table = build(tmp_path, quick=False)
    assert table.fingerprint["effort"]["passes"] == FULL.passes
    assert table_for(TINY, [], tmp_path, machine=refuse) == table


def test_raw_times_of_all_parts_and_networks_lie_beside_the_table(table, cache):
    (path,) = cache.glob("*.npz")
    with np.load(path) as raw:
        keys = {key for name in raw.files if name.startswith("keys") for key in raw[name]}
        assert keys >= set(table.entries)
        assert raw["times_0"].ndim == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda fields: "{", "its content is broken"),
        (lambda fields: "[]", "its content is broken"),
        (lambda fields: json.dumps({"format": "mnasnet-arch"}), "format is 'mnasnet-arch'"),
        (lambda fields: json.dumps(fields | {"version": 2}), "version is 2, expected 1"),
        (lambda fields: json.dumps(fields | {"unit": "s"}), "unit is 's'"),
        (lambda fields: json.dumps(fields | {"fingerprint": {}}), "fingerprint lacks cpu"),
        (lambda fields: json.dumps(fields | {"calibration": {"first": 1}}), "content is broken"),
        (lambda fields: json.dumps(fields | {"calibration": {"first": "a"}}), "content is broken"),
        (lambda fields: json.dumps(fields | {"entries": {"a": [1.0, -2.0]}}), "times of a are"),
        (lambda fields: json.dumps(fields | {"entries": {"a": [1.0]}}), "its content is broken"),
        (lambda fields: json.dumps(fields)[:-100], "its content is broken"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_one_line(folder, change, reason):
    (path,) = folder.glob("*.json")
    path.write_text(change(json.loads(path.read_text())))
    for read in (lambda: LatencyTable.load(path), lambda: build(folder)):
        with pytest.raises(UserError, match=reason) as caught:
            read()
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"cannot read the latency table .*none\.json"):
        LatencyTable.load(tmp_path / "none.json")


def test_an_interrupted_build_leaves_no_file(tmp_path):
    class Interrupted(SyntheticDevice):
        def visit(self, order, runs):
            if len(self.orders) == 20:
                raise KeyboardInterrupt
            return super().visit(order, runs)

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Interrupted())
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal
from supernet.device import ThisMachine
from supernet.latency import table_for
from supernet.space import MnasSpace

class Killed(ThisMachine):
    visits = 0

    def visit(self, order, runs):
        Killed.visits += 1
        if Killed.visits == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().visit(order, runs)

table_for(MnasSpace(base_filters=(8, 8), base_layers=(1, 1), strides=(1, 2), resolution=8, head=8,
                    ops=("sepconv",), skips=("none",), classes=2), [], FOLDER, machine=Killed)
"""


def test_a_killed_build_leaves_no_file(tmp_path):
    script = KILLED.replace("FOLDER", repr(str(tmp_path)))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(tmp_path.iterdir()) == []
