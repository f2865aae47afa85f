"""Two ranks of one run: what one is asked both do, and when one dies both end, with one line."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.strategies import DDPStrategy

from supernet.command.stopping import Stopped
from supernet.errors import UserError
from supernet.run import ranks as ranks_of_a_run
from supernet.run.ranks import FIRST_RANK, PATIENCE, Ranks

ROOT = Path(__file__).parents[3]
TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp_find_unused_parameters_true"]
LONG = ["--trainer.max_steps", "100000", "--checkpoint_every_s", "0"]
STOPPED = "stopped by SIGTERM: go on with the same command and --ckpt_path last\n"
SHORT = timedelta(seconds=5)
GO_ON = "go on with the same command and --ckpt_path last\n"


class Run:
    """A search on two ranks, whose training has begun."""

    def __init__(self, arguments):
        line = [sys.executable, "-W", "ignore", "-m", "search", "fit", *arguments, *TWO, *LONG]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        pipes["env"] = os.environ | {"TORCH_CPP_LOG_LEVEL": "ERROR"}  # DDP's advice on settings
        self.process = subprocess.Popen(line, cwd=ROOT, start_new_session=True, **pipes)
        self.first = self.process.pid

    def wait_for(self, path):
        deadline = time.monotonic() + 240
        while not path.exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        children = Path(f"/proc/{self.first}/task/{self.first}/children").read_text().split()
        (self.other,) = [
            int(pid) for pid in children if b"search" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]

    def end(self):
        """Status and errors; no rank may be left soon after."""
        _, errors = self.process.communicate(timeout=60)
        deadline = time.monotonic() + 10
        while lives(self.other):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return self.process.returncode, errors


def test_ranks_wait_for_a_long_part_of_another_one_unless_told_otherwise():
    for given, waits in ((DDPStrategy(), PATIENCE), (DDPStrategy(timeout=SHORT), SHORT)):
        Ranks().watch(SimpleNamespace(strategy=given))
        assert given._timeout == waits


def lives(pid):
    """Whether a process runs; one whose parent was killed may stay as a name for a while."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def run(tiny_search, tmp_path):
    run = Run(tiny_search)
    run.wait_for(tmp_path / "run" / "checkpoints" / "last.ckpt")
    yield run
    if run.process.poll() is None:
        os.killpg(run.first, signal.SIGKILL)
        run.process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["first", "other", "all"])
def test_a_rank_that_is_asked_to_stop_stops_all_after_the_same_step(run, asked, tmp_path):
    if asked == "all":
        os.killpg(run.first, signal.SIGTERM)
    else:
        os.kill(getattr(run, asked), signal.SIGTERM)
    assert run.end() == (143, STOPPED)
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["search"]["steps_done"] > 0


@pytest.mark.slow
def test_a_rank_that_is_killed_ends_the_first_with_one_line(run):
    os.kill(run.other, signal.SIGKILL)
    status, errors = run.end()
    assert status == 2
    assert errors.startswith(f"error: rank 1 (process {run.other}) was killed by SIGKILL")
    assert errors.endswith(GO_ON)
    assert errors.count("\n") == 1


@pytest.mark.slow
def test_a_first_rank_that_is_killed_ends_the_others_with_one_line(run):
    os.kill(run.first, signal.SIGKILL)
    status, errors = run.end()
    assert status == -signal.SIGKILL
    assert errors.startswith(f"error: rank 0 (process {run.first}) has died")
    assert errors.endswith(GO_ON)
    assert errors.count("\n") == 1


# --- without a run --------------------------------------------------------------------------------


class Launcher:
    def __init__(self, *commands):
        self.procs = [subprocess.Popen([sys.executable, "-c", one]) for one in commands]


class Trainer:
    def __init__(self, *commands):
        self.launcher = Launcher(*commands)

    @property
    def strategy(self):
        return self


@pytest.fixture
def watching(monkeypatch):
    """The first of ranks that run code of Python, with a patience of half a second."""
    monkeypatch.setattr(ranks_of_a_run, "GRACE_S", 0.5)
    started, ended = [], []
    monkeypatch.setattr(os, "_exit", ended.append)

    def watch(*commands):
        ranks, trainer = Ranks(), Trainer(*commands)
        started.append((ranks, list(trainer.launcher.procs)))
        ranks.watch(trainer)
        while trainer.launcher.procs:
            time.sleep(0.01)
        return ranks, ended

    yield watch
    for ranks, processes in started:
        ranks.end(patience_s=0)
        assert all(process.wait() is not None for process in processes)


SLEEP = "import time; time.sleep(60)"
LOST = RuntimeError("[gloo/transport/tcp/pair.cc:536] Connection closed by peer [127.0.1.1]:4711")


def ending(code):
    return f"import sys, time; time.sleep(.2); sys.exit({code})"


@pytest.mark.parametrize(
    ("code", "end", "words"),
    [
        (143, Stopped, "15"),
        (2, SystemExit, "2"),
        (1, UserError, r"rank 2 \(process \d+\) has ended with status 1, perhaps"),
    ],
)
def test_a_lost_connection_is_explained_by_the_rank_that_ended(watching, code, end, words):
    ranks, _ = watching(SLEEP, ending(code))
    with pytest.raises(end, match=words):
        ranks.explain(LOST)


@pytest.mark.parametrize("error", [UserError("a full disk: gloo"), RuntimeError("a fault of ours")])
def test_an_error_of_its_own_is_told_by_the_first_rank_at_once(watching, error):
    ranks, _ = watching(ending(143))
    started = time.monotonic()
    assert ranks.explain(error) is None
    assert time.monotonic() - started < 0.2


def test_a_rank_that_waits_forever_for_a_dead_one_is_ended(watching, capsys):
    _, ended = watching(SLEEP, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    deadline = time.monotonic() + 20
    while not ended:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert ended[0] == 2
    assert capsys.readouterr().err.startswith("error: rank 2 (process ")


def test_ranks_that_end_well_are_waited_for(watching):
    ranks, ended = watching(ending(0), ending(0))
    ranks.end(patience_s=20.0)
    assert [process.returncode for process in ranks._others] == [0, 0]
    assert ended == []


CLEANING = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: {})
pathlib.Path({!r}).touch()
time.sleep(60)
"""


def test_ranks_that_are_ended_may_clean_up_and_are_killed_if_they_do_not(
    watching, monkeypatch, tmp_path
):
    monkeypatch.setattr(ranks_of_a_run, "LEAVE_S", 0.5)
    ready = [tmp_path / name for name in ("leaves", "stays")]
    answers = zip(("sys.exit(7)", "None"), ready, strict=True)
    ranks, _ = watching(*(CLEANING.format(answer, str(path)) for answer, path in answers))
    while not all(path.exists() for path in ready):
        time.sleep(0.01)
    ranks.end(patience_s=0)
    assert [process.wait() for process in ranks._others] == [7, -signal.SIGKILL]


def test_who_is_no_started_rank_watches_no_parent(monkeypatch):
    for local, first, of in [("0", os.getppid(), 0), ("1", 1, 0), ("1", os.getppid(), None)]:
        monkeypatch.setenv("LOCAL_RANK", local)
        monkeypatch.setenv(FIRST_RANK, str(first))
        assert Ranks()._first == (os.getppid() if of is None else of)
