"""One process writes into a run folder; a second one is told which."""

import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from supernet.errors import UserError
from supernet.files.locking import locked
from supernet.files.writing import temporary_path

ROOT = Path(__file__).parents[3]
HOLDER = """
import multiprocessing, sys, time
from pathlib import Path
from supernet.files.locking import locked
with locked(Path(sys.argv[1])):
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    print(child.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder, and the one that it has forked, such as a loader's."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    worker = int(process.stdout.readline())
    yield process, worker
    os.kill(worker, signal.SIGKILL)  # it has inherited the pipe
    process.kill()
    process.communicate()


def test_a_second_command_is_refused_at_once_and_told_who_writes(holder, tmp_path):
    process, _ = holder
    who = f"process {process.pid} on {socket.gethostname()} (python -c"
    with pytest.raises(UserError, match=re.escape(f"{tmp_path} is being written by {who}")) as told:
        locked(tmp_path).__enter__()
    assert "\n" not in str(told.value)
    assert str(told.value).endswith("wait for it, end it, or name another --run")


def test_a_killed_holder_leaves_no_lock_though_what_it_has_forked_lives_on(holder, tmp_path):
    process, worker = holder
    process.kill()
    process.wait()
    os.kill(worker, 0)
    with locked(tmp_path):
        assert f"process {os.getpid()} " in (tmp_path / ".lock").read_text()


def test_a_folder_is_free_when_its_command_has_ended_or_failed(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path), locked(tmp_path / ".." / tmp_path.name):
        pass


def test_leftovers_are_removed_by_the_one_who_may(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for name in ("config.yaml", "checkpoints/last.ckpt"):
        temporary_path(tmp_path / name).write_text("half")
    with locked(tmp_path):
        assert {path.name for path in tmp_path.rglob("*")} == {"checkpoints", ".lock"}


def test_a_link_as_the_lock_is_refused(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match=r"cannot write .*\.lock"), locked(tmp_path):
        pass
    assert (tmp_path / "precious").read_text() == "kept"


def test_where_nothing_can_be_locked_a_line_says_so(tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", fail)
    with locked(tmp_path):
        assert "nothing can be locked: start no second command in it" in capsys.readouterr().out


def test_a_lock_that_says_nothing_readable_is_still_one(holder, tmp_path):
    for content in (b"", b"\x1b[2Jbad\n\x00" * 500):
        (tmp_path / ".lock").write_bytes(content)
        with pytest.raises(UserError, match="is being written by another process") as told:
            locked(tmp_path).__enter__()
        assert len(str(told.value)) < 400
        assert str(told.value).isprintable()
