"""Csv files that grow row by row, and their columns as numbers. No torch."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from supernet.errors import UserError
from supernet.files.reading import read_text
from supernet.files.writing import write_atomic

Columns = dict[str, np.ndarray]
"""Columns of a CSV file by name, NaN where a cell is empty."""


class CsvRows:
    """A csv file that grows row by row, gains columns, and can be cut back to a step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        self.columns: list[str] = ["step"]
        if path.exists():
            with path.open(newline="") as file:
                reader = csv.DictReader(file)
                self.columns = list(reader.fieldnames or self.columns)
                # A killed process may leave half a row: it has no value in the last column.
                self.rows = [row for row in reader if row["step"] and None not in row.values()]

    def cut(self, step: int) -> None:
        """Forget rows past ``step``: the run continues from there."""
        self.rows = [row for row in self.rows if int(row["step"]) <= step]
        self._rewrite()

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Add one row; a column that is new widens the file."""
        row = {"step": str(step), **{name: repr(float(v)) for name, v in values.items()}}
        self.rows.append(row)
        new = [name for name in row if name not in self.columns]
        if new or not self.path.exists():
            self.columns += new
            self._rewrite()
            return
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.columns, restval="").writerow(row)

    def _rewrite(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomic(self.path, text.getvalue().encode())


def read_columns(path: Path, names: Sequence[str], way_out: str) -> Columns:
    """The named columns of a csv file; ``way_out`` is what to name instead of one that is unread.

    Raises:
        UserError: when the file or a column is missing, or a cell is not a number.
    """
    rows = list(csv.DictReader(read_text(path, way_out).splitlines()))
    missing = [name for name in names if not rows or name not in rows[0]]
    if missing:
        raise UserError(f"{path} has no values of {missing[0]}: was this run a search?")
    cells = [
        [_number(path, line, name, row[name]) for name in names] for line, row in enumerate(rows, 2)
    ]
    return dict(zip(names, np.array(cells).T, strict=True))


def _number(path: Path, line: int, name: str, cell: str | None) -> float:
    try:
        return float(cell or math.nan)
    except ValueError:
        raise UserError(f"{path}, line {line}: {name} is {cell!r}, not a number") from None
