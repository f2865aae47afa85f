"""Processes and clusters that work off jobs."""

import multiprocessing
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from search.evaluation import workers
from search.evaluation.jobs import CachedJobs
from search.evaluation.workers import Workers
from supernet.errors import UserError

ROOT = Path(__file__).parents[3]
NAME = Path(__file__).stem


class Squares:
    """Work for processes, which import it from this file."""

    def __call__(self, job):
        if job < 0:
            raise UserError(f"{job} is below 0")
        if job == 99:
            os._exit(3)
        return job**2


class SquaresWithFolder(Squares):
    """Squares by a process that has a folder until it ends, as W&B makes two in each."""

    def __init__(self, folder):
        self.folder = TemporaryDirectory(dir=folder)


class SquaresOnce:
    """Squares, of which one ends its process, the first time that it is asked for."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, job):
        mark = self.folder / "died"
        if job == 3 and not mark.exists():
            mark.touch()
            os._exit(3)
        return {"of": [job], "is": job**2}


@pytest.fixture
def importable(monkeypatch):
    """Let processes find this file by name."""
    monkeypatch.setitem(sys.modules, NAME, sys.modules[__name__])
    for kind in (Squares, SquaresWithFolder, SquaresOnce):
        monkeypatch.setattr(kind, "__module__", NAME)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{Path(__file__).parent}")
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def all_ended():
    """Whether no process is left; who has waited for one may forget it a moment later."""
    end = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < end:
        time.sleep(0.05)
    return not multiprocessing.active_children()


def test_processes_do_every_job_once_and_end_without_a_trace(importable, tmp_path):
    work = partial(SquaresWithFolder, tmp_path)
    assert sorted(Workers(work, 2)(range(7))) == [i**2 for i in range(7)]
    assert all_ended()
    assert list(tmp_path.iterdir()) == []


def test_processes_end_with_a_call_that_nobody_reads_on(importable):
    results = Workers(Squares, 2)(range(7))
    next(results)
    results.close()
    assert all_ended()


@pytest.mark.slow
def test_a_process_that_fails_or_dies_ends_the_command_in_one_line(importable):
    with pytest.raises(UserError, match="-1 is below 0"):
        list(Workers(Squares, 2)([1, -1]))
    with pytest.raises(UserError, match=r"a process died .* run the same command again"):
        list(Workers(Squares, 2)([1, 99]))


def alive(text):
    """Processes whose command line or environment holds a text."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (folder / "environ").read_bytes():
                found.append(folder.name)
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_processes_end_soon_after_a_parent_that_was_killed(tmp_path):
    script = tmp_path / "sleeper.py"
    script.write_text(
        "import time\n"
        "from search.evaluation.workers import Workers\n"
        "def make():\n"
        "    return time.sleep\n"
        "if __name__ == '__main__':\n"
        "    results = Workers(make, 2)([0, 1000, 1000])\n"
        "    next(results)\n"
        "    print('begun', flush=True)\n"
        "    time.sleep(1000)\n"
    )
    mark = f"OF_TEST={tmp_path}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OF_TEST": str(tmp_path)}
    with subprocess.Popen([sys.executable, script], env=environment, stdout=-1) as parent:
        begun, num_alive = parent.stdout.readline(), len(alive(mark))
        parent.kill()
    assert begun == b"begun\n"
    assert num_alive >= 3
    end = time.monotonic() + 10
    while alive(mark) and time.monotonic() < end:
        time.sleep(0.1)
    assert alive(mark) == []


# A cluster


@pytest.fixture
def cluster(importable, tmp_path, monkeypatch):
    """The address of a scheduler with two workers of one thread each."""
    distributed = pytest.importorskip(
        "distributed", reason="--cluster needs mnasnet-search[cluster]"
    )
    import dask

    monkeypatch.chdir(tmp_path)
    workers.load_once()
    named = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": workers.START}),
        distributed.LocalCluster(**named, host="127.0.0.1", silence_logs=50) as made,
    ):
        yield made.scheduler_address


def test_a_cluster_finishes_what_a_worker_that_died_has_begun(cluster, tmp_path):
    jobs = CachedJobs(
        "squares",
        tmp_path / "cache.jsonl",
        ("of",),
        lambda job: {"of": [job]},
        Workers(partial(SquaresOnce, tmp_path), 1, cluster),
        shown=False,
    )
    assert [row["is"] for row in jobs.rows(range(8))] == [i**2 for i in range(8)]
    assert (tmp_path / "died").exists()
    assert len((tmp_path / "cache.jsonl").read_text().splitlines()) == 8
    with pytest.raises(UserError, match="-1 is below 0"):
        list(Workers(Squares, 1, cluster)([1, -1]))


def test_workers_of_several_threads_and_an_address_of_nobody_are_refused(importable, monkeypatch):
    distributed = pytest.importorskip(
        "distributed", reason="--cluster needs mnasnet-search[cluster]"
    )
    named = {"processes": False, "protocol": "tcp://", "dashboard_address": None}
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, host="127.0.0.1", **named
        ) as made,
        pytest.raises(UserError, match=r"has 2 threads, .* start workers with .*--nthreads 1"),
    ):
        list(Workers(Squares, 1, made.scheduler_address)([1]))
    monkeypatch.setattr(workers, "SECONDS_TO_CONNECT", 0.2)
    with pytest.raises(UserError, match="no Dask scheduler answers there"):
        list(Workers(Squares, 1, "127.0.0.1:1")([1]))
