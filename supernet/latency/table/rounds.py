"""Rounds: the raw times of a build, kept round by round, so that a killed one loses nothing."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

from supernet.cost.model import check_ms
from supernet.errors import UserError, check_range
from supernet.files.json_text import parse_json
from supernet.files.reading import typed

ROUNDS_FORMAT = "mnasnet-latency-times"
ROUNDS_VERSION = 1
_HEADER = f'{{"format":"{ROUNDS_FORMAT}",'
"""What the first line of every file begins with."""
DECIMALS = 5
"""Decimals of a time in ms: 10 ns, below what any clock here tells apart."""


class Round(NamedTuple):
    """One visit of each subject of a group, and of the reference in between."""

    times: list[list[float]]
    """(subjects, runs), ms."""
    reference: list[list[float]]
    """(chunks, runs), ms."""
    seconds: float
    """What the visits took."""
    loading: float = 0.0
    """Seconds of loading the group before it, if that was needed."""


class Rounds:
    """Rounds by the name of their group; those of a file are there again when it is opened anew.

    The file holds one JSON object a line: first what is measured on what, then for each group its
    keys before its first round, the rounds, and when it is finished. A round survives whatever
    ends the process after it. Use it as a context manager.

    Args:
        path: of the file, whose folder is made; None keeps nothing.
        plan: what is measured on what, as JSON gives it back. A file of another plan is refused.
        way_out: what the user can do then.

    Raises:
        UserError: when the file belongs to another build, is broken or is being written.
    """

    def __init__(
        self,
        path: Path | None = None,
        plan: Mapping[str, Any] = {},
        way_out: str = "name another --out",
    ) -> None:
        self.groups: dict[str, list[Round]] = {}
        self.finished: set[str] = set()
        """Groups that need no further round, whatever is learned of the machine later."""
        self.path, self.plan, self.way_out = path, dict(plan), way_out
        self._file: FileIO | None = None
        self._is_empty = True
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from None
        try:
            self._read(self._file)
        except UserError:
            self._file.close()
            raise

    def __enter__(self) -> Rounds:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def of(self, group: str) -> list[Round]:
        """The rounds of a group so far."""
        return self.groups.setdefault(group, [])

    def add(self, group: str, keys: Sequence[str], one: Round) -> None:
        """Keep a further round; one of a file is rounded, as a later process reads it.

        Raises:
            UserError: when it has a time that no run takes, such as by a clock that stands still.
        """
        for runs in (*one.times, *one.reference):
            for ms in runs:
                check_ms("a measured time", ms)
        if self._file:
            seconds = round(one.seconds, 3), round(one.loading, 3)
            one = Round(_rounded(one.times), _rounded(one.reference), *seconds)
        if not self.of(group):
            self._write({"group": group, "keys": list(keys)})
        self._write({"group": group, **one._asdict()})
        self.of(group).append(one)

    def finish(self, group: str) -> None:
        """Note that a group needs no further round."""
        if group not in self.finished:
            self._write({"finished": group})
            self.finished.add(group)

    @property
    def seconds(self) -> float:
        """What all rounds took, with all loading."""
        return sum(one.seconds + one.loading for rounds in self.groups.values() for one in rounds)

    def _read(self, file: FileIO) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"another process is measuring into {self.path}: wait for it, or {self.way_out}"
            ) from None
        file.seek(0)
        whole = 0
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):  # a kill cut it short: the round was not finished
                self._check_cut(number, line)
                break
            self._read_line(number, line)
            whole += len(line)
        file.truncate(whole)
        self._is_empty = whole == 0

    def _check_cut(self, number: int, line: bytes) -> None:
        """Refuse to cut off the first line of another program's file."""
        ours = _HEADER.encode()
        if number == 1 and line[: len(ours)] != ours[: len(line)]:
            raise UserError(
                f"{self.path} holds no times of this program: {self.way_out}, or move it away"
            )

    def _read_line(self, number: int, line: bytes) -> None:
        try:
            fields = parse_json(line)
            if number == 1:
                self._check(fields)
            elif "finished" in fields:
                self.finished.add(typed("finished", fields["finished"], str))
            elif "times" in fields:
                group = typed("group", fields.pop("group"), str)
                self.of(group).append(_checked(Round(**fields)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = str(error) if isinstance(error, UserError) else "it is broken"
            raise UserError(
                f"line {number} of {self.path}: {reason}; {self.way_out}, or move the file away to"
                " measure anew"
            ) from None

    def _check(self, fields: dict[str, Any]) -> None:
        if (fields.get("format"), fields.get("version")) != (ROUNDS_FORMAT, ROUNDS_VERSION):
            raise UserError("these are no times of this version")
        for name, value in self.plan.items():
            if fields["plan"].get(name) != value:
                raise UserError(
                    f"it is of a build with another {name}:"
                    f" {json.dumps(fields['plan'].get(name))[:150]}, not {json.dumps(value)[:150]}"
                )

    def _write(self, fields: dict[str, Any]) -> None:
        if not self._file:
            return
        lines = [fields]
        if self._is_empty:
            # Not before there is something to keep: a try that measures nothing binds no other.
            lines.insert(0, {"format": ROUNDS_FORMAT, "version": ROUNDS_VERSION, "plan": self.plan})
        try:
            for one in lines:
                line = json.dumps(one, separators=(",", ":"), allow_nan=False) + "\n"
                self._file.write(line.encode())
                self._is_empty = False
        except OSError as error:
            raise UserError(
                f"cannot write {self.path}: {error.strerror}; what was measured before is kept:"
                " make room, then run the same command again"
            ) from None


def _checked(one: Round) -> Round:
    """A round of a file, or UserError where no run takes its times."""
    for name in ("times", "reference"):
        for runs in typed(name, getattr(one, name), tuple[list, ...]):
            for ms in runs:
                check_ms(name, typed(name, ms, float))
    check_range("", one, "seconds", "loading", least=0)
    return one


def _rounded(times: Sequence[Sequence[float]]) -> list[list[float]]:
    return [[round(ms, DECIMALS) for ms in runs] for runs in times]
