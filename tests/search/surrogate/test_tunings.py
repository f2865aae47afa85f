"""Tunings: what each sees, what is kept, and what begins afresh."""

import dataclasses
import json
import math
import random
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.plugins.precision import Precision

from search.evaluation.frozen_supernet import tune
from search.loss import SearchLoss
from search.module import SearchModule
from search.settings import Final, Lengths, SurrogateSettings, WeightOptimizer
from search.surrogate import batches as image_batches
from search.surrogate import tuner, tunings
from search.surrogate.tunings import Tunings, check_processes, fingerprint, tuning_processes
from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.network.network import Network, recalibrate
from supernet.network.supernet import SuperNet
from supernet.training.standalone import evaluate
from tests.helpers.tiny import SPACE

CODES = [SPACE.encode(SPACE.canonical(SPACE.sample(random.Random(seed)))) for seed in (1, 2, 3, 4)]


class Bill:
    """What stands for ``Spending``: keeps what it is told."""

    def __init__(self):
        self.images, self.seconds = {}, []

    def score(self, space, archs, images):
        for arch in archs:
            code = space.encode(arch)
            self.images[code] = self.images.get(code, 0) + images

    def add(self, seconds, cpu_seconds):
        self.seconds.append((seconds, cpu_seconds))


@pytest.fixture
def search():
    torch.manual_seed(0)
    found = SimpleNamespace(
        space=SPACE,
        supernet=SuperNet(SPACE),
        data=RunData(Digits(8, batch_size=16), "search", seed=0),
        weights=WeightOptimizer(),
        loss=SearchLoss(),
        final=Final(recalibration_images=64),
        lengths=Lengths(2, 8),
        seed=0,
        shared_steps=5,
        global_rank=0,
        device="cpu",
        memory_format=torch.contiguous_format,
        laid_out=lambda images: images,
        surrogate=SurrogateSettings(),
        trainer=SimpleNamespace(
            world_size=1,
            is_global_zero=False,
            precision="32-true",
            precision_plugin=Precision(),
            strategy=SimpleNamespace(root_device=torch.device("cpu")),
        ),
    )
    found.moved = lambda batch: SearchModule.moved(found, batch)
    return found


@pytest.fixture
def watched(monkeypatch):
    """Networks as they begin, their batches and courses, in the order in which they are tuned."""
    seen = []

    def watch(network, batches, weights, steps, *more):
        batches = list(zip(range(steps), batches, strict=False))
        images = [batch[0].clone() for _, batch in batches]
        begins = {name: value.clone() for name, value in network.state_dict().items()}
        course = tune(network, (batch for _, batch in batches), weights, steps, *more)
        seen.append(SimpleNamespace(begins=begins, images=images, course=course))
        return course

    monkeypatch.setattr(tuner, "tune", watch)
    return seen


def same(one, other):
    return len(one) == len(other) and all(map(torch.equal, one, other))


@pytest.mark.parametrize("kept_bytes", [2**28, 0])
def test_all_networks_see_the_same_batches_whatever_their_number(
    search, tmp_path, watched, monkeypatch, kept_bytes
):
    monkeypatch.setattr(image_batches, "KEPT_BYTES", kept_bytes)
    tuned = Tunings(search, tmp_path, Bill())
    tuned.of(CODES[:2], 3)
    tuned.of(CODES, 6)
    tuned.of(CODES[2:], 3)
    longest = watched[2].images
    assert len(watched) == 8
    assert len({image.sum().item() for image in longest}) == 6
    assert all(same(one.images, longest[: len(one.images)]) for one in watched)


def test_a_longer_tuning_begins_as_a_shorter_one(search, tmp_path, watched):
    tuned = Tunings(search, tmp_path, Bill())
    (short,), (long,) = tuned.of(CODES[:1], 4), tuned.of(CODES[:1], 16)
    one, other = (seen.course for seen in watched)
    assert torch.equal(one.losses, other.losses[:4])
    assert torch.equal(one.accuracies, other.accuracies[:4])
    assert short.loss == pytest.approx(float(one.losses[2:].mean()))
    assert long.loss == pytest.approx(float(other.losses[8:].mean()))
    assert short.accuracy == pytest.approx(float(one.accuracies[2:].mean()))
    assert long.loss < short.loss


def test_networks_begin_with_slices_of_the_shared_weights(search, tmp_path, watched):
    Tunings(search, tmp_path, Bill()).of(CODES, 2)
    for code, seen in zip(CODES, watched, strict=True):
        expected = search.supernet.extract(SPACE.decode(code)).state_dict()
        assert all(torch.equal(seen.begins[name], expected[name]) for name in expected)


def test_without_shared_weights_networks_begin_afresh_the_same_each_time(search, tmp_path, watched):
    search.shared_steps = 0
    one = Tunings(search, tmp_path / "one", Bill()).of(CODES, 2)
    torch.nn.init.zeros_(search.supernet.classifier.weight)
    torch.manual_seed(77)
    before = torch.get_rng_state()
    again = Tunings(search, tmp_path / "again", Bill()).of(CODES, 2)
    assert torch.equal(torch.get_rng_state(), before)
    assert repr(one) == repr(again)
    torch.manual_seed(search.seed)
    fresh = Network(SPACE.spec(SPACE.decode(CODES[0]))).state_dict()
    assert all(torch.equal(watched[0].begins[name], fresh[name]) for name in fresh)
    search.seed = 1
    other = Tunings(search, tmp_path / "again", Bill()).of(CODES, 2)
    assert all(a.loss != b.loss for a, b in zip(one, other, strict=True))


def test_only_judged_networks_are_evaluated_on_the_validation_split(search, tmp_path, monkeypatch):
    networks = []
    monkeypatch.setattr(
        tuner, "recalibrate", lambda *all: (networks.append(all[0]), recalibrate(*all))
    )
    tuned = Tunings(search, tmp_path, Bill())
    assert all(math.isnan(one.val_accuracy) for one in tuned.of(CODES, 2))
    judged = tuned.of(CODES[:2], 2, True)
    for one, network in zip(judged, networks, strict=True):
        expected = evaluate(network, Digits(8, batch_size=179).val_dataloader()).accuracy
        assert one.val_accuracy == pytest.approx(expected)


def test_what_has_been_tuned_is_not_tuned_again_and_is_paid_once(
    search, tmp_path, watched, monkeypatch
):
    bill, file = Bill(), tmp_path / "tunings-rank0.jsonl"
    tuned = Tunings(search, tmp_path, bill)
    found = tuned.of(CODES[:3], 4)
    assert repr(tuned.of(CODES[:3], 4)) == repr(found)
    assert len(watched) == 3
    assert bill.images == dict.fromkeys(CODES[:3], 3 * 4 * 16)
    assert bill.seconds == []  # it was this process that spent them
    kept = file.read_bytes()

    file.write_bytes(kept[:-20])  # killed in the middle of a line
    later = Bill()
    assert repr(Tunings(search, tmp_path, later).of(CODES, 4)[:3]) == repr(found)
    assert len(watched) == 3 + 2
    rows = [json.loads(line) for line in kept.splitlines()]
    assert later.images == dict.fromkeys(CODES, 3 * 4 * 16)
    assert later.seconds == [(row["seconds"], row["cpu_seconds"]) for row in rows[:2]]


@pytest.mark.parametrize(
    "change",
    [
        {"weights": WeightOptimizer(lr=0.01)},
        {"seed": 1},
        {"final": Final(recalibration_images=32)},
        {"shared_steps": 0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_settings_and_weights_are_tuned_anew(search, tmp_path, watched, change):
    Tunings(search, tmp_path, Bill()).of(CODES[:2], 2)
    for name, value in change.items():
        setattr(search, name, value)
    Tunings(search, tmp_path, Bill()).of(CODES[:2], 2)
    assert len(watched) == 4


def test_other_shared_weights_have_another_name(search):
    before = fingerprint(search)
    assert fingerprint(search) == before
    with torch.no_grad():
        search.supernet.classifier.weight[0, 0] += 1e-3
    assert fingerprint(search) != before


def test_ranks_share_the_tunings_and_count_them_all(search, tmp_path, monkeypatch):
    expected = repr(Tunings(search, tmp_path / "alone", Bill()).of(CODES, 2))
    search.trainer.world_size, rows = 2, {}
    for rank in (0, 1):
        search.global_rank = rank
        jobs = Tunings(search, tmp_path, Bill()).jobs
        rows[rank] = jobs.rows([(code, 2, False) for code in CODES[rank::2]])
    for rank in (0, 1):
        search.global_rank = rank

        def gather(mine, rank=rank):
            assert [row["loss"] for row in mine] == [row["loss"] for row in rows[rank]]
            return rows[0] + rows[1]

        monkeypatch.setattr(tunings, "gather_objects", gather)
        bill = Bill()
        assert repr(Tunings(search, tmp_path, bill).of(CODES, 2)) == expected
        assert bill.images == dict.fromkeys(CODES, 3 * 2 * 16)
        assert len(bill.seconds) == 2


def test_a_loss_that_is_not_finite_ends_it_and_what_was_tuned_is_kept(
    search, tmp_path, monkeypatch
):
    tuned = Tunings(search, tmp_path, Bill())
    tuned.of(CODES[:2], 2)
    kept = (tmp_path / "tunings-rank0.jsonl").read_bytes()
    search.weights = dataclasses.replace(search.weights, lr=1e30, max_grad_norm=1e30)
    with pytest.raises(UserError, match=r"tuned for 6 steps is .*: mend the images and go on with"):
        Tunings(search, tmp_path, Bill()).of(CODES[2:], 6)
    assert (tmp_path / "tunings-rank0.jsonl").read_bytes() == kept


def test_processes_show_what_one_shows_and_are_paid_for(search, tmp_path, monkeypatch):
    search.final = Final(recalibration_images=48)
    alone = Tunings(search, tmp_path / "one", Bill()).of(CODES, 4, True)
    search.surrogate, bill = SurrogateSettings(processes=2), Bill()
    monkeypatch.setattr(tuner, "tune", None)  # in this process
    beside = Tunings(search, tmp_path / "two", bill)
    with beside.together():
        beside.of(CODES[:2], 4, True)
        assert repr(beside.of(CODES, 4, True)) == repr(alone)
    lines = (tmp_path / "two" / "tunings-rank0.jsonl").read_text().splitlines()
    cpu_seconds = {(0.0, json.loads(line)["cpu_seconds"]) for line in lines}
    assert set(bill.seconds) == cpu_seconds
    assert len(cpu_seconds) == 4

    later = Bill()
    assert repr(Tunings(search, tmp_path / "two", later).of(CODES, 4, True)) == repr(alone)
    kept = [json.loads(line) for line in lines]
    assert set(later.seconds) == {(row["seconds"] / 2, row["cpu_seconds"]) for row in kept}


@pytest.mark.parametrize(("int8", "images"), [(False, 48), (True, 256)])
def test_processes_hold_what_networks_are_measured_on(search, tmp_path, int8, images):
    search.final = Final(recalibration_images=48, int8=int8)
    search.surrogate = SurrogateSettings(processes=2)
    held = Tunings(search, tmp_path, Bill())._tuner().batches
    assert sum(len(batch[1]) for batch in held.statistics(images)) == images
    assert sum(len(batch[1]) for batch in held.statistics(48)) == 48
    assert sum(len(batch[1]) for batch in held.validation()) == 179
    assert len(held.training(8)) == max(search.lengths)


def test_processes_beside_each_other_are_of_one_cpu_alone(search, capsys):
    assert tuning_processes(search) == 1
    search.surrogate = SurrogateSettings(processes=3)
    search.trainer.is_global_zero = True
    assert tuning_processes(search) == 3
    check_processes(search)
    assert capsys.readouterr() == ("", "")
    strategy = search.trainer.strategy
    for change in (
        {"strategy": SimpleNamespace(root_device=torch.device("cuda"))},
        {"strategy": strategy, "world_size": 2},
    ):
        vars(search.trainer).update(change)
        assert tuning_processes(search) == 1
        check_processes(search)
        assert "processes is 3, but networks are tuned" in "".join(capsys.readouterr())


def test_processes_that_would_hold_too_many_images_are_refused(search):
    search.lengths, search.surrogate = Lengths(2, 30_000), SurrogateSettings(processes=2)
    search.data.setup("fit")
    images = 30_000 * 16 + 64 + 179
    limit = rf"processes is 2, and each would hold {images:,} images of 8 px, 351 MiB, more than 25"
    with pytest.raises(UserError, match=limit):
        check_processes(search)
    search.surrogate = SurrogateSettings()
    check_processes(search)
