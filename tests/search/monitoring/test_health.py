"""Search health: counts of ops and cost, gradients by op, probes, and alarms of a real search."""

import csv
import dataclasses
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from search.__main__ import main
from search.module import SearchModule
from search.monitoring.health import gradient_norms, op_uses
from search.selection.bn_probe import ARCHS, num_probes
from supernet.command.process import run_command
from supernet.errors import UserError
from supernet.network.supernet import SuperNet
from supernet.space.arch import mixture
from supernet.space.mnasnet import MnasSpace
from tests.helpers.wandb_run import FakeRun

ROOT = Path(__file__).parents[3]
SPACE = MnasSpace(
    base_filters=(8, 16),
    base_layers=(1, 2),
    strides=(1, 2),
    stem=8,
    stem_stride=1,
    head=16,
    resolution=8,
    classes=10,
)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def arch_of(op, seed=0):
    arch = SPACE.sample(random.Random(seed))
    return dataclasses.replace(
        arch, blocks=tuple(dataclasses.replace(block, op=op) for block in arch.blocks)
    )


# Counts


def test_a_mixed_block_uses_several_ops():
    arch = arch_of("conv")
    assert op_uses(SPACE, arch) == [[1, 0, 0, 0]] * 2
    mixed = dataclasses.replace(arch.blocks[1], op=mixture(["conv", "mbconv6"]))
    path = dataclasses.replace(arch, blocks=(arch.blocks[0], mixed))
    assert op_uses(SPACE, path) == [[1, 0, 0, 0], [1, 0, 0, 1]]


# Gradients


class Stub:
    """What gradient_norms reads of a search."""

    def __init__(self, path):
        torch.manual_seed(0)
        self.supernet = SuperNet(SPACE)
        images, labels = torch.randn(8, 3, 8, 8), torch.arange(8)
        functional.cross_entropy(self.supernet(images, path, 0.5), labels).backward()
        self.used = torch.tensor(op_uses(SPACE, path))

    @property
    def norms(self):
        return gradient_norms(self.supernet, self.used)

    def norm_of(self, *words):
        """Over the parameters of the blocks whose names hold any of the words."""
        gradients = [
            parameter.grad.flatten()
            for name, parameter in self.supernet.blocks.named_parameters()
            if parameter.grad is not None and any(word in name for word in words)
        ]
        return float(torch.cat(gradients).norm())


@pytest.mark.parametrize("op", SPACE.ops)
def test_the_gradient_of_the_only_op_is_that_of_all_but_the_stream(op):
    stub = Stub(arch_of(op))
    own = ("depthwise", "project", "dense", "expand", "squeeze", "norms")
    assert stub.norms == {op: pytest.approx(stub.norm_of(*own), rel=1e-5)}
    assert stub.norm_of("stream") > 0


def test_in_a_mixed_block_each_op_has_the_gradient_of_its_own_weights():
    arch = arch_of(mixture(SPACE.ops))
    blocks = (dataclasses.replace(block, se=0.25, layers=1) for block in arch.blocks)
    stub = Stub(dataclasses.replace(arch, blocks=tuple(blocks)))
    before = stub.norms
    assert set(before) == set(SPACE.ops)
    for name, parameter in stub.supernet.blocks.named_parameters():
        if "norms.mbconv6" in name or "squeeze_excites.mbconv6" in name:
            parameter.grad.zero_()
        elif "expand" in name.split(".")[-1] and parameter.ndim == 3:
            parameter.grad[3:].zero_()
    after = stub.norms
    changed = {op for op in SPACE.ops if before[op] != after[op]}
    assert changed == {"mbconv6"}
    assert 0 < after["mbconv6"] < before["mbconv6"]


# Probes


def test_probes_take_about_a_hundredth_of_a_search_and_never_less_than_one():
    assert num_probes(search=3 * 3000 * 64, one=512 + 88) == 4
    assert num_probes(search=100, one=512) == 1
    assert num_probes(search=10**12, one=512) == 10


# A real search


@pytest.fixture
def search(monkeypatch, tiny_search):
    def run(*more):
        monkeypatch.setattr(sys, "argv", ["search", "fit", *tiny_search, *map(str, more)])
        run_command(main)

    return run


NO_WARMUP = ["--model.schedule.warmup", "0", "--model.schedule.stream", "0"]


def uses_by_step(folder):
    logged = [row for row in rows(folder / "metrics.csv") if row["op_uses/conv"]]
    names = [name for name in logged[0] if name.startswith("op_uses/")]
    return {int(row["step"]): sum(float(row[name]) for name in names) for row in logged}


def test_a_search_counts_its_ops_probes_the_last_update_and_logs_sums(search, tmp_path, capsys):
    search(*NO_WARMUP)
    run = tmp_path / "run"
    assert uses_by_step(run) == {step: 3 * (step + 1) for step in range(0, 24, 4)}
    metrics = rows(run / "metrics.csv")
    (probe,) = [row for row in metrics if row["probe/batch_accuracy"]]
    scored = [row for row in rows(run / "samples.csv") if row["step"] == probe["step"] == "22"]
    accuracy = sum(float(row["accuracy"]) for row in scored[:ARCHS]) / ARCHS
    assert float(probe["probe/batch_accuracy"]) == pytest.approx(accuracy)
    for row in metrics:
        if row["reward/mean"]:
            parts = float(row["reward/accuracy"]) + float(row["reward/cost"])
            assert float(row["reward/mean"]) == pytest.approx(parts)
    (final,) = [row for row in metrics if row["final/batch_accuracy"]]
    assert final["step"] == "24"
    assert "alarm:" not in capsys.readouterr().out.replace("alarm: not learned", "")
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    work = checkpoint["callbacks"]["Health"]["image_macs"]
    steps = [float(row["train/image_macs"]) for row in metrics if row["train/image_macs"]]
    assert steps == sorted(steps)
    assert 0 < steps[0] < steps[-1] < work


@pytest.mark.slow
def test_two_processes_count_their_ops_together(tiny_search, tmp_path):
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp_find_unused_parameters_true"]
    line = [sys.executable, "-m", "search", "fit", *tiny_search, *NO_WARMUP, *two]
    done = subprocess.run(
        line, cwd=ROOT, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    expected = {step: 2 * 3 * (step + 1) for step in range(0, 24, 4)}
    assert uses_by_step(tmp_path / "run") == expected
    assert "alarm:" not in done.stdout.replace("alarm: not learned", "")


@pytest.mark.slow
def test_an_alarm_is_told_once_also_when_the_search_is_resumed(
    search, tmp_path, capsys, monkeypatch
):
    fake, train = FakeRun(), SearchModule.training_step
    monkeypatch.setattr("wandb.init", lambda **_: fake)
    monkeypatch.setattr(
        SearchModule, "slice_scores", lambda _, archs, __: torch.full((len(archs),), 0.1)
    )

    def stopping(module, *batch):
        if module.steps_done == 37:
            raise UserError("stopped here")
        return train(module, *batch)

    options = [
        "--trainer.max_steps",
        40,
        "--model.target",
        1e9,
        "--model.reward.kind",
        "hard",
        "--wandb.mode",
        "offline",
        "--checkpoint_every_s",
        0,
    ]
    monkeypatch.setattr(SearchModule, "training_step", stopping)
    with pytest.raises(SystemExit):
        search(*options)
    lines = capsys.readouterr().out.splitlines()
    (line,) = [one for one in lines if one.startswith("alarm:") and "not learned" not in one]
    assert line.startswith("alarm: the reward is constant: 0.1 for all samples of 3 updates")
    assert fake.alerts == ["reward constant"]
    assert fake.summary["alarm/reward constant"] in line

    monkeypatch.setattr(SearchModule, "training_step", train)
    search(*options, "--ckpt_path", "last")
    assert "alarm:" not in capsys.readouterr().out.replace("alarm: not learned", "")
    assert len(fake.alerts) == 1
    told = [row for row in rows(tmp_path / "run" / "metrics.csv") if row["alarms"]]
    assert [(row["step"], row["alarms"]) for row in told[-2:]] == [("36", "0.0"), ("36", "1.0")]
