"""Sources of a truth: the public tables by name, and tables of one's own, which a yaml describes.

docs/outside-truth.md tells the format.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from search.truth.tables import (
    ACCEL,
    MACRO,
    TrainedNetworks,
    cells,
    read_accel,
    read_macro,
    rows_of,
    to_blocks,
)
from supernet.errors import UserError
from supernet.files.reading import read_as, read_yaml, short, typed_object
from supernet.space.mnasnet import MnasSpace, read_space

PUBLIC: dict[str, tuple[str, Callable[[Path], TrainedNetworks]]] = {
    "accel-nasbench": (ACCEL, read_accel),
    "nas-bench-macro": (MACRO, read_macro),
}
"""Title and reader of the public tables."""
WAY_OUT = "docs/outside-truth.md describes such files"


@dataclass(frozen=True)
class OwnTable:
    """What a yaml file says of a table: the csv file, and what its columns are."""

    networks: str
    """The csv file, seen from the yaml file."""
    accuracies: tuple[str, ...]
    """Columns of accuracies in %, one for each seed."""
    space: str = ""
    """A space's yaml file or name, whose networks the table has; or else:"""
    decisions: tuple[str, ...] = ()
    """Columns of decisions; what they mean is left open."""
    costs: tuple[str, ...] = ()
    """Columns of costs, where there are ``decisions``; a space's networks are counted."""

    def __post_init__(self) -> None:
        """Refuse a table of nothing."""
        if bool(self.space) == bool(self.decisions):
            raise UserError("it must have a space or decisions, one of the two")
        if bool(self.decisions) != bool(self.costs):
            raise UserError("costs go with decisions: give both, or a space")
        if not self.accuracies:
            raise UserError("accuracies is empty: name at least one column")


@dataclass(frozen=True)
class Source:
    """A table, and where it lies.

    Raises:
        UserError: for a name that is none, and a public table without its folder.
    """

    name: str
    """A public table's name, or a yaml file."""
    data: Path | None
    """Folder of the public tables."""

    def __post_init__(self) -> None:
        """Refuse what cannot be found."""
        if self.name in PUBLIC:
            if self.data is None:
                raise UserError(f"--truth {self.name} needs --data DIR, the folder of the tables")
        elif Path(self.name).suffix not in (".yaml", ".yml"):
            known = " or ".join(PUBLIC)
            raise UserError(f"--truth {self.name} is neither {known} nor a yaml file: {WAY_OUT}")

    @property
    def key(self) -> str:
        """Name of the table in rows."""
        return self.name if self.name in PUBLIC else Path(self.name).stem

    @cached_property
    def _own(self) -> OwnTable:
        told = typed_object(self.name, read_yaml(self.name, WAY_OUT))
        try:
            return read_as(OwnTable, told, partial=True)
        except UserError as error:
            raise UserError(f"{self.name}: {error}; {WAY_OUT}") from None

    @property
    def path(self) -> Path:
        """The csv file."""
        if self.data is not None and self.name in PUBLIC:
            return self.data / self.name / "networks.csv"
        return Path(self.name).parent / self._own.networks

    @cached_property
    def digest(self) -> str:
        """A short name of the table's content.

        Raises:
            UserError: when it cannot be read.
        """
        described = "" if self.name in PUBLIC else repr(self._own)
        try:
            return hashlib.sha256(self.path.read_bytes() + described.encode()).hexdigest()[:12]
        except OSError as error:
            raise UserError(f"cannot read {self.path} ({error.strerror}): {WAY_OUT}") from None

    def read(self) -> TrainedNetworks:
        """The networks of the table.

        Raises:
            UserError: for a file that is missing or says something else.
        """
        if self.name in PUBLIC:
            return PUBLIC[self.name][1](self.path)
        own = self._own
        space = read_space(_beside(self.name, own.space)) if own.space else None
        columns = _space_columns(space) if space else own.decisions
        rows = rows_of(self.path, [*columns, *own.accuracies, *own.costs])
        values = _values_of(space) if space else [_distinct(rows, one) for one in columns]
        codes = np.array(list(_codes(self.path, rows, columns, values)))
        numbers = cells(self.path, rows, [*own.accuracies, *own.costs])
        return _networks(self.key, own, space, codes, numbers, [len(one) for one in values])


def _beside(yaml: str, name: str) -> str:
    file = Path(yaml).parent / name
    return str(file if file.is_file() else name)


def _space_columns(space: MnasSpace) -> list[str]:
    """Columns ``op1``, ``kernel1`` and so on, of decisions that have a choice."""
    return [
        f"{name}{block}"
        for block, choices in enumerate(space.choices, 1)
        for name, values in choices.items()
        if len(values) > 1
    ]


def _values_of(space: MnasSpace) -> list[list[str]]:
    """Values of these decisions, as a table has them."""
    values = (values for choices in space.choices for values in choices.values())
    return [[_plain(one) for one in those] for those in values if len(those) > 1]


def _plain(value: object) -> str:
    """A value without the ways in which numbers may be spelled."""
    try:
        return f"{float(str(value)):g}"
    except ValueError:
        return str(value)


def _distinct(rows: Sequence[dict[str, str]], column: str) -> list[str]:
    return sorted({_plain(row[column]) for row in rows}, key=_order)


def _order(value: str) -> tuple[float, str]:
    """Numbers by their size, then words."""
    try:
        return float(value), ""
    except ValueError:
        return math.inf, value


def _codes(
    path: Path, rows: Sequence[dict[str, str]], columns: Sequence[str], values: list[list[str]]
) -> Iterator[list[int]]:
    for line, row in enumerate(rows, 2):
        code = []
        for column, known in zip(columns, values, strict=True):
            if (value := _plain(row[column])) not in known:
                allowed = ", ".join(known)
                raise UserError(
                    f"{path}, line {line}: {column} is {short(row[column])}, the space has"
                    f" {allowed}"
                )
            code.append(known.index(value))
        yield code


def _networks(
    name: str,
    own: OwnTable,
    space: MnasSpace | None,
    codes: np.ndarray,
    numbers: np.ndarray,
    sizes: Sequence[int],
) -> TrainedNetworks:
    """Networks of a table of one's own, rows of one code merged to their mean."""
    filled: tuple[int, ...] = to_blocks(len(sizes))
    codes = np.pad(codes, ((0, 0), (0, 0 if space else len(filled))))
    if space:
        whole = np.zeros((len(codes), len(space.decision_sizes)), dtype=int)
        whole[:, np.array(space.decision_sizes) > 1] = codes
        archs = [space.canonical(space.decode(code)) for code in whole.tolist()]
        codes = np.array([space.encode(arch) for arch in archs])
    codes, places = np.unique(codes, axis=0, return_inverse=True)
    sums = np.zeros((len(codes), numbers.shape[1]))
    np.add.at(sums, places, numbers)
    means = sums / np.bincount(places)[:, None]
    split = len(own.accuracies)
    costs = dict(zip(own.costs, means[:, split:].T, strict=True))
    if space:
        specs = [space.spec(space.decode(code)) for code in codes.tolist()]
        sizes = space.decision_sizes
        return TrainedNetworks(name, specs, means[:, :split], codes, tuple(sizes), space)
    return TrainedNetworks(name, [], means[:, :split], codes, (*sizes, *filled), costs=costs)
