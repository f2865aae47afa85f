"""A trial of one mutation: the tests that should notice, on a copy of the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mutation_check.mutations import Mutation, StaleMutationError

LIMIT_S = 300
"""Seconds after which tests that should notice count as having noticed: they go on for ever."""
_FAILED, _NO_TESTS_RUN = 1, 5


@dataclass(frozen=True)
class Verdict:
    """What became of a mutation."""

    mutation: Mutation
    killed: bool
    by: str
    """The first test that failed; empty for one that survived."""
    seconds: float


def copy_checkout(root: Path, folder: Path) -> Path:
    """Copy what git tracks or would track; bytecode and runs stay behind."""
    line = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(line, cwd=root, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    return folder


def run_tests(checkout: Path, tests: Sequence[str], limit: float = LIMIT_S) -> tuple[int, str]:
    """Run tests in a copy of the checkout until one fails; pytest's status, and what it printed.

    Raises:
        subprocess.TimeoutExpired: when they take longer than ``limit`` seconds.
    """
    line = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--durations=0"]
    # No bytecode: two sources of one second and one size would share it.
    settings = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout)}
    with subprocess.Popen(
        [*line, "-m", "not slow", *tests],
        cwd=checkout,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            printed, _ = process.communicate(timeout=limit)
        except BaseException:  # whatever ends this ends what the tests have started, too
            os.killpg(process.pid, 9)
            raise
    return process.returncode, printed


def check_unmutated(checkout: Path, mutations: Sequence[Mutation]) -> None:
    """Run all tests of the mutations on a copy in which nothing is changed.

    Raises:
        StaleMutationError: when one fails, or is gone: it could notice nothing.
    """
    tests = sorted({test for mutation in mutations for test in mutation.tests})
    status, printed = run_tests(checkout, tests, limit=LIMIT_S * len(mutations))
    if status:
        raise StaleMutationError(f"tests fail without any mutation:\n{printed[-3000:]}")


def try_mutation(checkout: Path, mutation: Mutation) -> Verdict:
    """Make a mutation in a copy of the checkout, run its tests, and take it back.

    Raises:
        StaleMutationError: when the mutation cannot be made, or leaves nothing to run.
    """
    start = time.monotonic()
    with _made(checkout, mutation):
        try:
            status, printed = run_tests(checkout, mutation.tests)
        except subprocess.TimeoutExpired:
            return Verdict(mutation, True, f"no end within {LIMIT_S} s", time.monotonic() - start)
    if status not in (0, _FAILED):
        reason = "none ran" if status == _NO_TESTS_RUN else printed[-2000:]
        raise StaleMutationError(
            f"{mutation.new!r} in {mutation.file} leaves no tests to run, which is no answer:"
            f" {reason}"
        )
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", printed, re.MULTILINE)
    by = failed[1] if failed else ""
    return Verdict(mutation, status == _FAILED, by, time.monotonic() - start)


@contextmanager
def _made(checkout: Path, mutation: Mutation) -> Iterator[None]:
    """A context in which the mutation stands in the copy."""
    place = checkout / mutation.file
    mutated, before = mutation.mutated(checkout), place.read_text()
    place.write_text(mutated)
    try:
        yield
    finally:
        place.write_text(before)
