"""A search that was killed and continued is the search that was not."""

import os
import random
import signal
import sys
import time

import pytest

from search.__main__ import main
from search.module import SearchModule
from search.monitoring.compute import Spent
from supernet.errors import UserError
from tests.helpers import preloaded
from tests.helpers.interrupted import lines, state_hash


def start(arguments):
    return preloaded.Command("search", "fit", *arguments, joined=True, start_new_session=True)


def kill_when(process, happened):
    """SIGKILL the whole process group as soon as ``happened()``; it must not have ended before."""
    deadline = time.monotonic() + 180
    while not happened():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def finish(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output


def last_step(run):
    rows = lines(run / "metrics.csv")[1:]
    return int(rows[-1].split(",")[0]) if rows else -1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "targets"), [("ppo", "p40"), ("ppo", "[p20, p50, p80]"), ("evolution", "p40")]
)
def test_a_search_stopped_before_and_between_paths_proposed_at_once_takes_the_same(
    tiny_search, tmp_path, monkeypatch, kind, targets
):
    """Those of steps 21 and 22 are proposed together, after the controller has learned at 20."""
    options = ["--model.controller.kind", kind, "--model.controller.evolution.population", "4"]
    options += ["--model.target", targets]
    arguments = ["search", "fit", *tiny_search, "--checkpoint_every_s", "0", *options]
    train = SearchModule.training_step

    def run(*more, stop=None):
        def stopping(module, *batch):
            if module.steps_done == stop:
                raise UserError("stopped here")
            return train(module, *batch)

        monkeypatch.setattr(SearchModule, "training_step", stopping)
        monkeypatch.setattr(sys, "argv", [*arguments, *more])
        main()

    for options, stop in (((), 21), (("--ckpt_path", "last"), 22)):
        with pytest.raises(SystemExit):
            run(*options, stop=stop)
    run("--ckpt_path", "last")
    run("--run", str(tmp_path / "whole"))
    assert state_hash(tmp_path / "run") == state_hash(tmp_path / "whole")


@pytest.mark.parametrize(
    ("processes", "kind", "targets"),
    [
        (1, "ppo", "p40"),
        pytest.param(2, "ppo", "p40", marks=pytest.mark.slow),
        pytest.param(1, "evolution", "p40", marks=pytest.mark.slow),
        pytest.param(2, "evolution", "p40", marks=pytest.mark.slow),
        pytest.param(1, "ppo", "[p20, p50, p80]", marks=pytest.mark.slow),
        pytest.param(2, "ppo", "[p20, p50, p80]", marks=pytest.mark.slow),
        pytest.param(2, "evolution", "[p20, p50, p80]", marks=pytest.mark.slow),
    ],
)
def test_a_search_killed_three_times_ends_as_if_it_had_not_been(
    search, tiny_search, tmp_path, processes, kind, targets
):
    parallel = ["--trainer.devices", "2", "--trainer.strategy", "ddp_find_unused_parameters_true"]
    arguments = [
        *tiny_search,
        "--checkpoint_every_s",
        "0",
        *(parallel if processes > 1 else []),
        "--model.controller.kind",
        kind,
        "--model.controller.evolution.population",
        "4",
        "--model.target",
        targets,
        # So that it is killed with some of them left to judge.
        "--model.final.candidates",
        "6",
    ]
    run, whole = tmp_path / "run", tmp_path / "whole"
    last = run / "checkpoints" / "last.ckpt"
    step = random.randint(5, 17)

    kill_when(start(arguments), (run / "config.yaml").exists)
    assert not last.exists()
    resumed = [*arguments, "--ckpt_path", "last"]
    kill_when(start(resumed), lambda: last_step(run) >= step)
    kill_when(start(resumed), lambda: lines(run / "judged-rank0.jsonl"))
    assert not list(run.glob("arch*.json"))
    finish(start(resumed))

    alone = [*arguments, "--run", str(whole)]
    # In another order of sets than that of the killed ones.
    search(*alone) if processes == 1 else finish(start(alone))
    archs = sorted(path.name for path in whole.glob("arch*.json"))
    assert len(archs) == 1 + targets.count(",")
    for name in (*archs, "pareto.json"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), (name, step)
    assert state_hash(run) == state_hash(whole), step
    assert lines(run / "metrics.csv") == lines(whole / "metrics.csv"), step
    assert lines(run / "samples.csv") == lines(whole / "samples.csv"), step
    spent, spent_whole = (Spent.read(folder / "cost.json") for folder in (run, whole))
    assert spent.image_macs == spent_whole.image_macs > 0, step
