"""Csv files that grow row by row, and their columns as numbers. No torch."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from supernet.errors import UserError, one_line
from supernet.files.reading import read_text, short
from supernet.files.writing import write_atomic

Columns = dict[str, np.ndarray]
"""Columns of a CSV file by name, NaN where a cell is empty."""


class CsvRows:
    """A csv file that grows row by row, gains columns, and can be cut back to a step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        self.columns: list[str] = ["step"]
        self._is_whole = True
        if path.exists():
            self._read()

    def _read(self) -> None:
        """Read what an earlier process has written.

        Raises:
            UserError: when it is not such a file, naming the line.
        """
        way_out = "move it away to go on without its rows"
        text = read_text(self.path, way_out)
        reader, self._is_whole = csv.DictReader(text.splitlines()), text.endswith("\n")
        try:
            self.columns = list(reader.fieldnames or self.columns)
            if "step" not in self.columns or len(set(self.columns)) < len(self.columns):
                raise ValueError("its columns must be different, one of them step")
            # A killed process may leave half a row: it has no value in the last column.
            whole = (row for row in reader if row["step"] and None not in row.values())
            self.rows = [_checked(row) for row in whole]
        except (ValueError, csv.Error) as error:
            raise UserError(
                f"{self.path}, line {reader.line_num}, is broken ({one_line(error)}): {way_out}"
            ) from None

    def cut(self, step: int) -> None:
        """Forget rows past ``step``: the run continues from there."""
        self.rows = [row for row in self.rows if int(row["step"]) <= step]
        self._rewrite()

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Add one row; a column that is new widens the file."""
        row = _row(step, values)
        self.rows.append(row)
        new = [name for name in row if name not in self.columns]
        if new or not self._is_whole or not self.path.exists():
            self.columns += new
            self._rewrite()
            return
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.columns, restval="").writerow(row)

    def ends_with(self, step: int, values: Mapping[str, float]) -> bool:
        """Whether the last row is this one."""
        last = self.rows[-1] if self.rows else {}
        return {name: cell for name, cell in last.items() if cell} == _row(step, values)

    def _rewrite(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomic(self.path, text.getvalue().encode())
        self._is_whole = True


def _row(step: int, values: Mapping[str, float]) -> dict[str, str]:
    return {"step": str(step), **{name: repr(float(v)) for name, v in values.items()}}


def _checked(row: dict[str, str]) -> dict[str, str]:
    if None in row:
        raise ValueError("it has more cells than columns")
    if not re.fullmatch("[0-9]{1,18}", row["step"]):
        raise ValueError(f"step is {short(row['step'])}, it must be a whole number")
    for name, cell in row.items():
        if cell:
            try:
                float(cell)
            except ValueError:
                raise ValueError(f"{name} is {short(cell)}, not a number") from None
    return row


def read_columns(path: Path, names: Sequence[str], way_out: str) -> Columns:
    """The named columns of a csv file; ``way_out`` is what to name instead of one that is unread.

    Raises:
        UserError: when the file or a column is missing, or a cell is not a number.

    Examples:
        >>> from pathlib import Path
        >>> columns = read_columns(Path("samples.csv"), ["step", "cost"], "name a search")
        >>> columns["step"][:2].tolist()
        [20.0, 20.0]
    """
    try:
        rows = list(csv.DictReader(read_text(path, way_out).splitlines()))
    except csv.Error as error:
        raise UserError(f"cannot read {path} ({one_line(error)}): {way_out}") from None
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
        raise UserError(
            f"{path}, line {line}: {name} is {(cell or '')[:60]!r}, not a number"
        ) from None
