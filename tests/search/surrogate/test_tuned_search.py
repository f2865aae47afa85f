"""A whole search by tunings: what it leaves behind, stopped anywhere, and on several ranks."""

import csv
import json
import os
import random
import signal
import time

import pytest
import timm
import torch

from search.surrogate.tuner import Tuner
from supernet.arch_file import read_arch
from supernet.command.process import run_command
from supernet.errors import UserError
from tests.helpers import preloaded
from tests.helpers.documented import undocumented, unnamed
from tests.helpers.interrupted import lines, state_hash

FILES = ("arch.json", "pareto.json", "surrogate.json", "samples.csv", "metrics.csv")
TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp_find_unused_parameters_true"]
UNSHARED = ["--model.schedule.share", "0"]


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read(path):
    return json.loads(path.read_text())


def assert_same_files(run, other, names=FILES):
    for name in names:
        assert (run / name).read_bytes() == (other / name).read_bytes(), name


def test_a_search_leaves_its_labels_finalists_and_choice(search, tuned_search, tmp_path, capsys):
    search(*tuned_search)
    run = tmp_path / "run"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["last.ckpt"]
    found, told = read_arch(run / "arch.json"), read(run / "surrogate.json")
    assert (found.step, told["shared_steps"]) == (9, 9)
    assert (told["label_steps"], told["final_steps"]) == (4, 4)
    assert [one["round"] for one in told["labels"]][:8] == [0] * 4 + [1] * 2 + [2] * 2
    assert len(told["finalists"]) == 3
    code = list(found.space.encode(found.arch))
    (choice,) = [one for one in told["finalists"] if one["arch"] == code]
    assert choice["val_accuracy"] == found.accuracy
    kept = [json.loads(line) for line in lines(run / "tunings-rank0.jsonl")]
    assert [(row["steps"], row["judged"]) for row in kept] == [(4, False)] * 8 + [(4, True)] * 3

    samples = rows(run / "samples.csv")
    assert [row["step"] for row in samples] == [str(9 + n // 4) for n in range(24)]
    metrics = rows(run / "metrics.csv")
    assert [row["step"] for row in metrics if row["train/loss"]] == ["0", "4", "8"]
    assert [row["step"] for row in metrics if row["reward/mean"]] == [str(9 + n) for n in range(6)]
    printed = capsys.readouterr().out
    assert "supernet accuracy on validation images, tuned for 4 steps: " in printed
    assert "expected beyond a random network of its cost: " in printed
    assert "95 % interval" in printed

    # A search that has ended is told again, without a tuning, and not paid again.
    before, spent = {name: (run / name).read_bytes() for name in FILES}, read(run / "cost.json")
    search(*tuned_search, "--ckpt_path", "last")
    assert {name: (run / name).read_bytes() for name in FILES} == before
    assert len(lines(run / "tunings-rank0.jsonl")) == 11
    again = read(run / "cost.json")
    assert again["image_macs"] == spent["image_macs"]
    assert again["cpu_seconds"] >= sum(row["cpu_seconds"] for row in kept)

    assert unnamed(run) == set()
    written = [*run.glob("*.json"), run / "samples.csv"]
    assert {path.name: undocumented(path) for path in written if undocumented(path)} == {}
    assert undocumented(run / "tunings-rank0.jsonl", "Rows of tunings") == set()
    (record,) = (run / "data").iterdir()
    assert undocumented(record, "Record of the data") == set()


EVOLUTION = ["--model.controller.kind", "evolution"]


@pytest.mark.parametrize("shared", [pytest.param(EVOLUTION, marks=pytest.mark.slow), UNSHARED])
def test_a_search_stopped_in_its_tunings_ends_as_one_that_was_not(
    search, tuned_search, tmp_path, monkeypatch, shared
):
    tune = Tuner.tune
    options = [*tuned_search, *shared]
    options += ["--model.controller.evolution.population", "4", "--model.target", "[p30, p60]"]

    def stopped_after(num):
        def stopping(tuner, asked):
            if len(lines(tmp_path / "run" / "tunings-rank0.jsonl")) == num:
                raise UserError("stopped here")
            return tune(tuner, asked)

        return stopping

    for num, more in ((3, []), (9, ["--ckpt_path", "last"])):
        monkeypatch.setattr(Tuner, "tune", stopped_after(num))
        with pytest.raises(SystemExit):
            run_command(lambda more=more: search(*options, "--trainer.max_steps", "42", *more))
        assert not (tmp_path / "run" / "arch.json").exists()
    monkeypatch.setattr(Tuner, "tune", tune)
    search(*options, "--trainer.max_steps", "42", "--ckpt_path", "last")
    run, whole = tmp_path / "run", tmp_path / "whole"
    search(*options, "--trainer.max_steps", "42", "--run", whole)
    files = [path.name for path in whole.glob("arch*.json")]
    assert len(files) == 2
    assert_same_files(run, whole, [*files, *FILES[1:]])
    assert state_hash(run) == state_hash(whole)
    stopped, left_alone = read(run / "cost.json"), read(whole / "cost.json")
    assert stopped["image_macs"] == left_alone["image_macs"]
    kept = [json.loads(line) for line in lines(run / "tunings-rank0.jsonl")]
    assert stopped["cpu_seconds"] >= sum(row["cpu_seconds"] for row in kept)


REFUSED = {
    "--trainer.max_steps 24": (
        "20 steps are left for tuning 8 networks and 3 finalists, fewer than 2 for each network:"
        " raise trainer.max_steps, or lower model.schedule.share, surrogate.networks,"
        " final.candidates or final.tuning_steps"
    ),
    "--model.final.tuning_steps 16": "51 steps are left for tuning 8 networks and 3 finalists",
    "--model.final.tuning_steps 1": "final.tuning_steps is 1: with sampling.score tuned it must",
    "--model.surrogate.networks 3": "surrogate.networks is 3, it must be at least 4",
    "--model.surrogate.uniform 2": "surrogate.uniform is 2.0, it must be at least 0 and at most 1",
    "--model.surrogate.rounds 0": "surrogate.rounds is 0, it must be at least 1",
    "--model.schedule.share 1": "schedule.share is 1.0, it must be at least 0 and below 1",
    "--model.schedule.uniform .5 --model.schedule.share .5": "is the old name of share",
    "--model.surrogate.first 1 --model.target [p30,p60]": "fewer than the 2 targets",
}


@pytest.mark.parametrize("options", REFUSED)
def test_settings_that_cannot_be_are_refused_in_one_line(search, tuned_search, capsys, options):
    with pytest.raises(SystemExit) as leaving:
        run_command(lambda: search(*tuned_search, *options.split()))
    assert leaving.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert REFUSED[options] in line


# --- processes ------------------------------------------------------------------------------------


def start(options):
    return preloaded.Command("search", "fit", *options, joined=True, start_new_session=True)


def finish(options):
    process = start(options)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output


def kill_at(options, kept, num, pause=0.0):
    """Start a search and kill it so many seconds after it has kept ``num`` tunings."""
    process = start(options)
    deadline = time.monotonic() + 300
    while len(lines(kept)) < num:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(pause)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("taught", [False, True])
def test_two_ranks_choose_what_one_does(tuned_search, tmp_path, taught):
    """Without shared weights: two ranks would train these on twice as many images."""
    options = [*tuned_search, *UNSHARED, "--model.target", "[p30, p60]"]
    if taught:
        weights = timm.create_model("test_efficientnet", num_classes=10).state_dict()
        torch.save(weights, tmp_path / "teacher.pth")
        options += ["--model.teacher", f"test_efficientnet:{tmp_path / 'teacher.pth'}"]
    options += ["--trainer.max_steps", "100", "--model.weights.label_smoothing", "0.1"]
    finish(options)
    finish([*options, *TWO, "--data.batch_size", "16", "--run", tmp_path / "two"])
    one, two = tmp_path / "run", tmp_path / "two"
    files = sorted(path.name for path in one.glob("arch*.json"))
    assert len(files) == 2
    assert_same_files(one, two, [*files, "surrogate.json", "samples.csv", "pareto.json"])
    shared = [len(lines(two / f"tunings-rank{rank}.jsonl")) for rank in (0, 1)]
    assert sum(shared) >= len(lines(one / "tunings-rank0.jsonl")) > max(shared)
    assert read(one / "cost.json")["image_macs"] == read(two / "cost.json")["image_macs"]


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("shared", [[], UNSHARED], ids=["shared", "unshared"])
def test_a_search_killed_in_its_tunings_ends_as_one_that_was_not(
    tuned_search, tmp_path, ranks, shared
):
    options = [*tuned_search, *shared, *(TWO if ranks == 2 else [])]
    kept = tmp_path / "run" / "tunings-rank0.jsonl"
    most = 11 // ranks
    kill_at(options, kept, 1)
    kill_at([*options, "--ckpt_path", "last"], kept, random.randint(2, most - 1))
    assert not (tmp_path / "run" / "arch.json").exists()
    finish([*options, "--ckpt_path", "last"])
    finish([*options, "--run", tmp_path / "whole"])
    assert_same_files(tmp_path / "run", tmp_path / "whole")
    costs = [read(tmp_path / name / "cost.json") for name in ("run", "whole")]
    assert costs[0]["image_macs"] == costs[1]["image_macs"]


@pytest.mark.slow
def test_a_search_killed_while_it_judges_finalists_in_int8_ends_as_one_that_was_not(
    tuned_search, tmp_path
):
    options = [*tuned_search, *UNSHARED, "--model.final.int8", "true"]
    kept = tmp_path / "run" / "tunings-rank0.jsonl"
    # The eight labels come first; a finalist's graph is made, calibrated and run in seconds.
    kill_at(options, kept, 8, random.uniform(0, 4))
    kill_at([*options, "--ckpt_path", "last"], kept, 9, random.uniform(0, 4))
    assert not (tmp_path / "run" / "arch.json").exists()
    finish([*options, "--ckpt_path", "last"])
    finish([*options, "--run", tmp_path / "whole"])
    assert_same_files(tmp_path / "run", tmp_path / "whole")
    assert state_hash(tmp_path / "run") == state_hash(tmp_path / "whole")
    judged = [json.loads(line).get("int8_accuracy") for line in lines(kept)]
    assert judged[:8] == [None] * 8
    assert len(judged) == 11
    assert None not in judged[8:]
