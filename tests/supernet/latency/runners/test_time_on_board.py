"""The example script of docs for ``--backend command``, with programs that stand for a board."""

import shlex
from pathlib import Path

import pytest

from supernet.errors import UserError
from supernet.latency.devices.backends import Backend
from supernet.latency.devices.opening import open_device
from supernet.latency.table.plan import middle_network
from tests.helpers.programs import Programs
from tests.helpers.tables import TINY

SCRIPT = Path(__file__).parents[4] / "docs" / "time_on_board.sh"
SSH = 'shift; case "$1" in ./time_model) {board};; *) exec "$@";; esac'
"""ssh to a board that shares this machine's files, and has a program of its own."""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    programs = Programs(tmp_path / "programs", monkeypatch)
    monkeypatch.setenv("BOARD", "me@board")
    programs.add("scp", 'cp "$2" "${3#*:}"')
    return programs


def visit(tmp_path):
    """What the backend reads of a network that the script times."""
    backend = Backend("command", runner=f"{shlex.quote(str(SCRIPT))} {{model}}")
    with open_device(backend, tmp_path / "models") as device:
        device.load([middle_network(TINY)])
        return device.visit([0])


def test_the_median_of_what_it_prints_is_read_and_the_file_taken_away(programs, tmp_path):
    programs.add("ssh", SSH.format(board='test -s "$4" && printf "2.5\\n2.1\\n2.2\\n"'))
    assert visit(tmp_path) == [[2.2]]
    timed, removed = programs.calls("ssh")
    assert timed == ["me@board", "./time_model", "--runs", "3", timed[-1]]
    assert removed == ["me@board", "rm", "-f", timed[-1]]
    assert timed[-1].endswith(".onnx")
    assert not Path(timed[-1]).exists()


def test_a_failure_on_the_board_ends_it_and_takes_the_file_away(programs, tmp_path):
    programs.add("ssh", SSH.format(board="echo 'no memory' >&2; exit 3"))
    with pytest.raises(UserError, match="ended with status 3: no memory"):
        visit(tmp_path)
    assert programs.calls("ssh")[-1][1:3] == ["rm", "-f"]
