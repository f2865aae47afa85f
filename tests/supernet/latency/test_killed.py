"""Builds of latency tables that are stopped: what was measured is kept, and the next goes on."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from supernet.latency.table.table import LatencyTable
from supernet.space.mnasnet import read_space
from tests.helpers.quick_build import SPACE, words

ROOT = Path(__file__).parents[3]
KILLABLE = """
import sys
from supernet.latency.__main__ import main
from supernet.latency.table.plan import EFFORTS, Effort
EFFORTS["quick"] = Effort(6.0, 2, 3, 10, 6, 400)
main(sys.argv[1:])
"""


def start(folder):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-c", KILLABLE, *words(folder)]
    return subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finished_rounds(folder):
    path = folder / "table.raw.jsonl"
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    return [line for line in lines if b'"times"' in line and line.endswith(b"\n")]


@pytest.mark.slow
def test_a_build_that_is_killed_twenty_times_loses_nothing(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    rng, kept, kills = random.Random(0), [], 0
    while kills < 20:
        process = start(tmp_path)
        deadline = time.monotonic() + 60
        while len(finished_rounds(tmp_path)) <= len(kept) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        now = finished_rounds(tmp_path)
        assert now[: len(kept)] == kept, "what was measured before is as it was"
        assert len(now) > len(kept), "and more was measured since"
        assert not (tmp_path / "table.json").exists()
        kept, kills = now, kills + 1
    process = start(tmp_path)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert finished_rounds(tmp_path)[: len(kept)] == kept
    table = LatencyTable.read(tmp_path / "table.json")
    table.check_covers(read_space(tmp_path / "space.yaml"))
    assert table.validation.sessions == 3


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_build_in_one_line(tmp_path, how):
    (tmp_path / "space.yaml").write_text(SPACE)
    process = start(tmp_path)
    while not finished_rounds(tmp_path) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(how)
    _, errors = process.communicate()
    assert process.returncode == 128 + how
    by = " by SIGTERM" if how == signal.SIGTERM else ""
    assert errors.decode().splitlines()[-1] == f"stopped{by}: go on with the same command"
    assert "Traceback" not in errors.decode()
