"""Finished measurements as JSON lines: what is there is not done again."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from supernet.errors import UserError

Row = dict[str, Any]


class Cache:
    """A file of measurements, each found by the fields that identify it.

    Lines are appended whole, so that several commands may share the file; the rest of a line that
    was cut short by a full disk is passed over.
    """

    def __init__(self, path: Path, keys: Sequence[str]) -> None:
        """Read the file, if there is one.

        Args:
            path: the file.
            keys: names of the fields that identify a measurement.

        Raises:
            UserError: when it cannot be read or holds something else.
        """
        self.path, self.keys = path, keys
        self.rows: dict[tuple, Row] = {}
        for number, line in enumerate(self._lines(), 1):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if not isinstance(row, dict) or any(key not in row for key in keys):
                raise UserError(
                    f"{path}, line {number} has no {', '.join(keys)}: name the cache of this"
                    " command, or a new file"
                )
            self.rows[self.key(row)] = row

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text().splitlines() if self.path.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the cache {self.path}: {error}") from None

    def key(self, row: Row) -> tuple:
        """What identifies a measurement."""
        return tuple(row[key] for key in self.keys)

    def append(self, row: Row) -> None:
        """Keep a measurement, at once and whole."""
        self.rows[self.key(row)] = row
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


def short_hash(value: Any) -> str:
    """A short name of a value of JSON types."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


@cache
def commit() -> str:
    """The commit of this code, marked where the files differ from it; empty without git."""
    line = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        done = subprocess.run(
            line, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()
