"""Long jobs: each done once, and kept in a cache."""

import hashlib
import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Generic

from search.evaluation.workers import J
from supernet.command.output import ProgressLines
from supernet.errors import UserError

Row = dict[str, Any]
"""A finished job: what identifies it, and its result."""
Key = tuple[Any, ...]
"""What identifies a job: the values of some fields of its row."""


def short_hash(value: Any) -> str:
    """A short name of a value of JSON types."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


@cache
def commit() -> str:
    """The commit of this code, marked where the files differ from it; empty without git.

    Rows of benchmarks do not count: each that is added would mark all that follow.
    """
    named = _git("describe", "--always", "--exclude", "*")
    differs = named and _git("diff", "HEAD", "--name-only", "--", ":/", f":(top,exclude){ROWS}")
    return f"{named}-dirty" if differs else named


ROWS = "benchmarks/results"


def _git(*words: str) -> str:
    """What git says of the repository that this file lies in; nothing without one."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()


def other_commits(rows: Iterable[Mapping[str, Any]]) -> str:
    """Which rows other code than this has made, in one line; empty where none was.

    A row without a commit was made outside git.
    """
    made = Counter(row.get("commit") or "unknown" for row in rows)
    here, total = commit() or "unknown", made.total()
    others = ", ".join(f"{number} by {name}" for name, number in made.most_common() if name != here)
    return f"of {total} rows of other commits than {here}: {others}" if others else ""


def identified(config: Row, seed: int = 0) -> Row:
    """A job's settings, with a seed and a short name of theirs, by which it is known."""
    return {"config": short_hash(config)[:12], "seed": seed, **config}


def key_of(row: Row, keys: Sequence[str]) -> Key:
    """The values of some fields."""
    values = [row[key] for key in keys]
    return tuple(tuple(one) if isinstance(one, list) else one for one in values)


def read_rows(path: Path, keys: Sequence[str], strict: bool = True) -> dict[Key, Row]:
    """Results in a file of JSON lines, if there is one, by the fields that identify their jobs.

    The rest of a line that was cut short by a full disk is passed over.

    Args:
        path: the file.
        keys: names of these fields.
        strict: refuse a file of something else, instead of passing over its lines.

    Raises:
        UserError: when the file cannot be read or holds something else.
    """
    known = {}
    for number, line in enumerate(_lines(path), 1):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and all(key in row for key in keys):
            known[key_of(row, keys)] = row
        elif strict:
            raise UserError(
                f"{path}, line {number} has no {', '.join(keys)}: name the cache of this command,"
                " or a new file"
            )
    return known


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines() if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the cache {path}: {error}") from None


class CachedJobs(Generic[J]):
    """Jobs of one kind, done now or found in a file of JSON lines.

    Lines are appended whole, so that several commands may share the file.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        keys: Sequence[str],
        identity: Callable[[J], Row],
        do: Callable[[Sequence[J]], Iterable[Row]],
        status: Callable[[Row], str] = lambda _: "",
        shown: bool = True,
        strict: bool = True,
    ) -> None:
        """Read the file, if there is one.

        Args:
            name: of the jobs, for the progress bar.
            path: the file, as ``read_rows`` reads it.
            keys: names of the fields that identify a job.
            identity: these fields of a job.
            do: does jobs, such as ``Workers``; its results are rows, with these fields among them,
                in the order in which jobs end.
            status: what the progress bar says of the last row.
            shown: whether there is a progress bar.
            strict: refuse a file of something else, instead of passing over its lines.

        Raises:
            UserError: when the file cannot be read or holds something else.
        """
        self.name, self.path, self.keys = name, path, keys
        self.identity, self.do = identity, do
        self.status, self.shown = status, shown
        self.known = read_rows(path, keys, strict)
        commit()  # of the code that is loaded, before anything long begins

    def key(self, job: J) -> Key:
        """What the result of a job is known by."""
        return key_of(self.identity(job), self.keys)

    def knows(self, job: J) -> bool:
        """Whether the result of a job is there."""
        return self.key(job) in self.known

    def rows(self, jobs: Iterable[J]) -> list[Row]:
        """The results of jobs, in their order; those that are missing are done now."""
        keyed = [(self.key(job), job) for job in jobs]
        missing = {key: job for key, job in keyed if key not in self.known}
        if missing:
            self._do(list(missing.values()), len({key for key, _ in keyed}))
        return [self.known[key] for key, _ in keyed]

    def _do(self, missing: list[J], total: int) -> None:
        with ProgressLines(self.shown) as bar:
            done = total - len(missing)
            task = bar.add_task(self.name, total=total, completed=done, status="")
            for row in self.do(missing):
                self._append(row)
                bar.update(task, advance=1, status=self.status(row))

    def _append(self, row: Row) -> None:
        """Keep a result, at once and whole."""
        self.known[key_of(row, self.keys)] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
            # A line that was cut short must not swallow this one.
            cut = file.read(1) not in (b"", b"\n")
            file.write(b"\n" * cut + json.dumps(row).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
