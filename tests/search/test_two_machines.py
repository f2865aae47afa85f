"""Two machines, each with a folder of its own, that torchrun brings together."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from supernet.arch_file import read_arch
from supernet.latency.table.table import LatencyTable
from tests.helpers.interrupted import ROOT, lines, state_hash
from tests.helpers.tables import random_table

pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Machines:
    """Two nodes of one search; only the run's folder is common to both."""

    def __init__(self, folder, config, run):
        self.folder, self.config, self.run = folder, config, run
        self.processes = []

    def start(self, *more, of_second=()):
        """Both nodes' processes."""
        port = free_port()
        return [self._node(rank, port, *more, *(of_second if rank else ())) for rank in (0, 1)]

    def _node(self, rank, port, *more):
        work = self.folder / f"machine{rank}"
        work.mkdir(exist_ok=True)
        torchrun = ["--nnodes", 2, "--node_rank", rank, "--nproc_per_node", 1, "--max_restarts", 0]
        place = ["--master_addr", "127.0.0.1", "--master_port", port]
        search = ["-c", self.config, "--run", self.run, "--trainer.num_nodes", 2]
        strategy = ["--trainer.devices", 1, "--trainer.strategy", "ddp_find_unused_parameters_true"]
        line = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", *torchrun, *place]
        line += ["-m", "--", "search", "fit", *search, *strategy, *more]
        own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MACHINE": str(work)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        line = [str(word) for word in line]
        self.processes.append(subprocess.Popen(line, cwd=work, env={**os.environ, **own}, **pipes))
        return self.processes[-1]

    def lose(self, rank):
        """Kill all processes of a node at once, as its power supply may."""
        mark = f"MACHINE={self.folder / f'machine{rank}'}\0".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (process / "environ").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)


@pytest.fixture
def machines(tuned_search, tmp_path):
    """Two that are lost in the end, whatever has failed."""
    made = Machines(tmp_path, tuned_search[1], tmp_path / "run")
    yield made
    for rank in (0, 1):
        made.lose(rank)
    for process in made.processes:
        if not process.stdout.closed:
            process.communicate()


def finish(processes, timeout=120):
    return [process.communicate(timeout=timeout) for process in processes]


def test_a_search_on_two_machines_goes_on_after_one_of_them_has_died(machines, tmp_path):
    run, machines.run = machines.run, tmp_path / "whole"
    told = finish(machines.start())
    machines.run = run
    assert (tmp_path / "whole/arch.json").exists(), told
    first, second = machines.start()
    log = machines.run / "metrics.csv"
    for _ in range(1200):
        if len(lines(log)) > 1:
            break
        time.sleep(0.1)
    assert second.poll() is None
    machines.lose(1)
    died = time.monotonic()
    _, error = first.communicate(timeout=60)
    assert time.monotonic() - died < 30
    assert first.returncode != 0
    assert "error: another rank, or the connection to it, was lost (" in error
    finish(machines.start("--ckpt_path", "last"))
    assert (machines.run / "arch.json").read_bytes() == (tmp_path / "whole/arch.json").read_bytes()
    assert state_hash(machines.run) == state_hash(tmp_path / "whole")


def test_machines_share_the_first_ones_table_and_refuse_other_images(
    search, machines, tuned_search, tmp_path
):
    search(*tuned_search, "--run", tmp_path / "alone")
    space = read_arch(tmp_path / "alone" / "arch.json").space
    for rank in (0, 1):
        random_table(space, rank).write(tmp_path / f"table{rank}.json")
    of_first, of_second = (
        ("--model.cost", "ms", "--model.table", tmp_path / f"table{rank}.json") for rank in (0, 1)
    )
    told = finish(machines.start(*of_first, of_second=of_second))
    found = read_arch(machines.run / "arch.json")
    assert found.table == LatencyTable.read(tmp_path / "table0.json").hash, told
    assert found.predicted <= found.target
    machines.run = tmp_path / "others"
    for process in machines.start(of_second=("--data.split_seed", 1)):
        _, error = process.communicate(timeout=60)
        assert "has other images (" in error
        assert process.returncode != 0
    assert not (tmp_path / "others/arch.json").exists()
