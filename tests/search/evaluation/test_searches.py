"""Searches of an experiment: each done once, in a process and a folder of its own."""

import signal
import subprocess
import sys

import pytest

from search.evaluation import searches
from search.evaluation.searches import SearchJob, finished_searches
from supernet.errors import UserError
from supernet.report.search_sections import NEXT_STEP
from tests.conftest import TUNED_SEARCH

OPTIONS = ("--model.target=[p20, p50]",)


PROGRAM = """
import sys
from pathlib import Path
words = sys.argv[1:]
folder = Path(words[words.index("--run") + 1])
if words[words.index("--seed_everything") + 1] == "9":
    sys.exit("begins\\nerror: target p999 is no percentile")
(folder / "NEXT").write_text("mnasnet retrain")
""".replace("NEXT", NEXT_STEP)
"""In place of a search: seed 9 fails."""


@pytest.fixture
def programs(monkeypatch):
    """Lines that were started; a program of a moment runs instead of each."""
    lines, popen = [], subprocess.Popen

    def start(line, **streams):
        lines.append(line)
        return popen([sys.executable, "-c", PROGRAM, *line[3:]], **streams)

    monkeypatch.setattr(searches.subprocess, "Popen", start)
    monkeypatch.setattr(searches, "POLL_S", 0.01)
    return lines


def test_a_search_is_done_once_and_each_in_a_folder_of_its_own(programs, tmp_path):
    jobs = [SearchJob("clutter/search", OPTIONS, seed) for seed in range(2)]
    folders = finished_searches(jobs, tmp_path, processes=2)
    assert len(set(folders)) == len(programs) == 2
    assert finished_searches(jobs[::-1], tmp_path) == folders[::-1]
    assert len(programs) == 2
    other = SearchJob("clutter/search", (), 0)
    assert finished_searches([other], tmp_path)[0] not in folders
    line = programs[0]
    assert line[:4] == [sys.executable, "-m", "search", "fit"]
    assert OPTIONS[0] in line
    assert line[line.index("--ckpt_path") + 1] == "auto"


def test_a_search_that_fails_is_told_by_its_last_words(programs, tmp_path):
    with pytest.raises(UserError, match=r"failed \(target p999 is no percentile\): see .*log"):
        finished_searches([SearchJob("clutter/search", (), 9)], tmp_path)


def test_what_stops_the_command_stops_its_searches(monkeypatch, tmp_path):
    popen, started = subprocess.Popen, []

    def start(line, **streams):
        started.append(popen([sys.executable, "-c", "import time; time.sleep(60)"], **streams))
        return started[-1]

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(searches.subprocess, "Popen", start)
    monkeypatch.setattr(searches.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        finished_searches([SearchJob("clutter/search", (), 0)], tmp_path)
    assert started[0].poll() == -signal.SIGTERM


@pytest.mark.slow
def test_a_real_search_leaves_its_surrogate(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TUNED_SEARCH)
    (folder,) = finished_searches([SearchJob(str(tmp_path / "tiny.yaml"), OPTIONS, 0)], tmp_path)
    assert (folder / "surrogate.json").exists()
    assert len([*folder.glob("arch-p*.json")]) == 2
