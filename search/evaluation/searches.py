"""Searches of an experiment: each in a process and a folder of its own, and each done once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from search.evaluation.jobs import short_hash
from supernet.command.output import say
from supernet.errors import UserError
from supernet.report.search_sections import NEXT_STEP

LOG = "search.log"
"""File of a search's folder with what it printed."""
POLL_S = 0.2
"""Seconds between two looks at those that are running."""


@dataclass(frozen=True)
class SearchJob:
    """A search to be made."""

    config: str
    """A yaml file, or the name of a shipped one."""
    options: tuple[str, ...]
    """Further options of ``mnasnet search``."""
    seed: int

    def folder(self, runs: Path) -> Path:
        """Where it lies among the runs of an experiment."""
        return runs / f"search-{short_hash([self.config, self.options])[:8]}-{self.seed}"


def finished_searches(jobs: Sequence[SearchJob], runs: Path, processes: int = 1) -> list[Path]:
    """Folders of finished searches, in the order of the jobs; what is missing is searched now.

    A search that was stopped goes on where it was.

    Args:
        jobs: the searches.
        runs: folder in which theirs lie.
        processes: searches at a time.

    Raises:
        UserError: with the last words of a search that failed, and where its log lies.
    """
    folders = {job: job.folder(runs) for job in jobs}
    # The last file that a search writes.
    missing = [job for job, folder in folders.items() if not (folder / NEXT_STEP).exists()]
    running: dict[Path, subprocess.Popen[bytes]] = {}
    try:
        for number, job in enumerate(missing, 1):
            _wait(running, processes - 1)
            folder = folders[job]
            say(f"search {number} of {len(missing)}: seed {job.seed}, {folder / LOG}")
            running[folder] = _start(job, folder)
        _wait(running, 0)
    finally:
        for process in running.values():
            process.terminate()  # it keeps what it has
            process.wait()
    return [folders[job] for job in jobs]


def _start(job: SearchJob, folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    line = [sys.executable, "-m", "search", "fit", "-c", job.config, *job.options]
    line += ["--run", str(folder), "--seed_everything", str(job.seed), "--ckpt_path", "auto"]
    line += ["--wandb.mode", "disabled"]
    with (folder / LOG).open("w") as log:
        return subprocess.Popen(line, stdout=log, stderr=subprocess.STDOUT)


def _wait(running: dict[Path, subprocess.Popen[bytes]], most: int) -> None:
    """Wait until no more searches than ``most`` are running."""
    while len(running) > most:
        ended = [folder for folder, process in running.items() if process.poll() is not None]
        for folder in ended:
            if running.pop(folder).returncode:
                path = folder / LOG
                words = path.read_text().strip().splitlines() or ["it printed nothing"]
                last = words[-1].removeprefix("error: ")
                raise UserError(f"the search in {folder} failed ({last}): see {path}")
        if not ended:
            time.sleep(POLL_S)
