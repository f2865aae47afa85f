"""Reads what a search leaves in its run folder: CSV columns and the Pareto front."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from supernet.archfile import UNITS
from supernet.errors import UserError

Columns = dict[str, np.ndarray]
"""Columns of a CSV file by name, NaN where a cell is empty."""


@dataclass(frozen=True)
class Front:
    """What pareto.json holds: the re-evaluated networks that no other one beats."""

    targets: dict[str, float]
    """Upper limits of the cost, in ``unit``, by name."""
    unit: str
    costs: np.ndarray
    accuracies: np.ndarray
    chosen: dict[str, int]
    """Index of the network that was chosen for each target."""


def read_columns(path: Path, names: Sequence[str]) -> Columns:
    """Read the named columns of a CSV file.

    Raises:
        UserError: when the file or a column is missing, or a cell is not a number.
    """
    try:
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, error) from None
    missing = [name for name in names if not rows or name not in rows[0]]
    if missing:
        raise UserError(f"{path} has no values of {missing[0]}: was this run a search?")
    cells = [[_number(path, line, name, row[name]) for name in names]
             for line, row in enumerate(rows, 2)]  # fmt: skip
    return dict(zip(names, np.array(cells).T, strict=True))


def _number(path: Path, line: int, name: str, cell: str | None) -> float:
    try:
        return float(cell or math.nan)
    except ValueError:
        raise UserError(f"{path}, line {line}: {name} is {cell!r}, not a number") from None


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = error.strerror if isinstance(error, OSError) else "not text"
    return UserError(f"cannot read {path} ({reason}): name the folder of a finished search")


def read_front(path: Path) -> Front:
    """Read pareto.json.

    Raises:
        UserError: when the file is missing, not JSON, or lacks a field or the chosen network.
    """
    try:
        fields = json.loads(path.read_bytes())
        points = sorted(fields["points"], key=lambda point: point["cost"])
        chosen = {name: index for index, point in enumerate(points) for name in point["chosen"]}
        targets = {str(name): float(target) for name, target in fields["targets"].items()}
        front = Front(
            targets,
            fields["unit"],
            np.array([float(point["cost"]) for point in points]),
            np.array([float(point["accuracy"]) for point in points]),
            {name: chosen[name] for name in targets},
        )
        if not targets:
            raise ValueError("no target")
    except OSError as error:
        raise _unreadable(path, error) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{path} is broken: it must hold targets, unit and points with cost, accuracy and one"
            " chosen for each target; run the search's final stage again"
        ) from None
    if front.unit not in UNITS:
        raise UserError(f"{path}: unit is {front.unit!r}, allowed are {', '.join(UNITS)}")
    return front
