"""Public tables of networks that others have trained, as architectures or decisions of ours."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from search.surrogate.tunings import Code
from supernet.cost.counts import count
from supernet.errors import UserError
from supernet.files.reading import read_text
from supernet.space.arch import DECISIONS, Arch, BlockChoice, Restriction
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec
from supernet.space.stage import Stage

ACCEL, MACRO = "Accel-NASBench", "NAS-Bench-Macro"
PAGE = "docs/outside-truth.md says where it comes from and which columns it has"
WIDTHS, STRIDES, BASE_DEPTH = (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 2, 1, 2, 1), 2
OPS = {"1": "sepconv", "4": "mbconv4", "6": "mbconv6"}
"""Ops of ours by the expansion in the table of Accel-NASBench."""
DEEPER = 6
"""The only block that may have four layers."""
ACCEL_SPACE = MnasSpace(
    ops=tuple(OPS.values()),
    skips=("identity",),
    filters=(1.0,),
    layers=(-1, 0, 1, 2),
    base_filters=WIDTHS,
    base_layers=(BASE_DEPTH,) * len(WIDTHS),
    strides=STRIDES,
    restrictions=tuple(
        Restriction(block, layers=(-1, 0, 1))
        for block in range(1, len(WIDTHS) + 1)
        if block != DEEPER
    ),
)
"""The space of Accel-NASBench's networks, of EfficientNet's widths and strides."""
CHECKED = 20
"""Networks whose parameters are compared with those of the table, spread over it."""
MACRO_LAYERS = {
    "0": ("conv", 1, 1, 0.0, "none"),
    "1": ("mbconv", 3, 3, 0.0, "identity"),
    "2": ("mbconv", 5, 6, 0.0, "identity"),
}
"""Layers of NAS-Bench-Macro; 0 is one only where it begins a stage, else nothing."""
MACRO_STAGES = ((64, 2), (128, 3), (256, 3))
"""Width and most layers of its three stages."""


@dataclass(frozen=True)
class TrainedNetworks:
    """N networks of a table and what they reached when others trained them."""

    name: str
    specs: list[NetSpec]
    """Of the networks; none where only their decisions are known."""
    accuracies: np.ndarray
    """(N, S) in points, one column for each seed."""
    codes: np.ndarray | None = None
    """(N, D) indices of the decisions, where the table has some."""
    sizes: tuple[int, ...] = ()
    """Number of values of each of the D decisions."""
    space: MnasSpace | None = None
    """Whose architectures ``codes`` are; None where they are decisions of the table's own."""
    copies: Mapping[Code, int] = field(default_factory=dict)
    """Numbers of networks by further codes of the same ones."""
    costs: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Costs (N,) by name that the table tells and we cannot count."""
    repeated: TrainedNetworks | None = None
    """Others that were trained with several seeds, where these have one: how far trainings of a
    network lie apart."""

    def cost(self, unit: str) -> np.ndarray:
        """Cost (N,) of the networks: MACs and parameters as we count them, or the table's own.

        Raises:
            UserError: for one that is neither.
        """
        if unit in self.costs:
            return self.costs[unit]
        if unit not in ("macs", "params") or not self.specs:
            known = ", ".join([*self.costs, *(["macs", "params"] if self.specs else [])])
            raise UserError(f"{self.name} has no cost {unit}: take one of {known}")
        return self._counted[:, 0 if unit == "macs" else 1]

    @cached_property
    def _counted(self) -> np.ndarray:
        """MACs and parameters (N, 2)."""
        counts = map(count, self.specs)
        return np.array([(one.macs, one.params) for one in counts], dtype=float)

    def select(self, chosen: np.ndarray, name: str) -> TrainedNetworks:
        """Those with numbers ``chosen`` (M,), under another name and without decisions."""
        specs = [self.specs[number] for number in chosen]
        return TrainedNetworks(name, specs, self.accuracies[chosen])

    @property
    def seeds(self) -> np.ndarray:
        """(K, S) accuracies of the networks that were trained with most seeds."""
        return self.repeated.accuracies if self.repeated else self.accuracies

    @property
    def deviation(self) -> float:
        """Standard deviation in points between trainings of one network; NaN where each has one."""
        if self.seeds.shape[1] < 2:
            return math.nan
        return float(np.sqrt(self.seeds.var(axis=1, ddof=1).mean()))


def read_accel(path: Path) -> TrainedNetworks:
    """The 5,138 networks of Accel-NASBench (Ahmad et al. 2024), ImageNet top-1 after 16 epochs.

    Beside ``path`` lies seeds.csv, of others that were trained with three seeds.

    Raises:
        UserError: for a file that is missing, and for one whose columns say something else.
    """
    networks, seeds = _read_blocks(path, ["top1"]), [f"short_top1_s{seed}" for seed in (1, 2, 3)]
    return replace(networks, repeated=_read_blocks(path.with_name("seeds.csv"), seeds))


def _read_blocks(path: Path, accuracies: Sequence[str]) -> TrainedNetworks:
    blocks = range(1, len(WIDTHS) + 1)
    names = [f"{kind}{block}" for kind in ("e", "k", "l", "se") for block in blocks]
    rows = rows_of(path, [*names, *accuracies, "params_m"])
    try:
        archs = [_accel_arch(row) for row in rows]
        codes = np.array([ACCEL_SPACE.encode(arch) for arch in archs])
    except (KeyError, ValueError, UserError) as error:
        raise _other(path, error) from None
    specs = [ACCEL_SPACE.spec(arch) for arch in archs]
    told = 1e6 * cells(path, rows, ["params_m"])[:, 0]
    _check_counts(path, specs, "params_m", told.tolist())
    sizes = tuple(ACCEL_SPACE.decision_sizes)
    return TrainedNetworks(ACCEL, specs, cells(path, rows, accuracies), codes, sizes, ACCEL_SPACE)


def _accel_arch(row: dict[str, str]) -> Arch:
    return Arch(
        tuple(
            BlockChoice(
                OPS[row[f"e{block}"]],
                int(row[f"k{block}"]),
                0.25 * int(row[f"se{block}"]),
                "identity",
                1.0,
                int(row[f"l{block}"]) - BASE_DEPTH,
            )
            for block in range(1, len(WIDTHS) + 1)
        )
    )


def read_macro(path: Path) -> TrainedNetworks:
    """The 3,969 networks of NAS-Bench-Macro (Su et al. 2021), CIFAR-10, three trainings of each.

    They are eight decisions of three. Copies are merged: where in a stage a layer that is nothing
    stands does not matter, unless it is the first. Such a first layer is a convolution without
    activation there, and with one here, as we lack the other; it has the same size and cost.

    Raises:
        UserError: for a file that is missing, and for one whose columns say something else.
    """
    ops, seeds = [f"op{number}" for number in range(1, 9)], ["acc_s1", "acc_s2", "acc_s3"]
    found: dict[NetSpec, tuple[Code, dict[str, str]]] = {}
    copies: dict[Code, NetSpec] = {}
    filled = to_blocks(len(ops))
    for row in rows_of(path, [*ops, *seeds, "params", "macs"]):
        try:
            code = (*(("0", "1", "2").index(row[op]) for op in ops), *(0 for _ in filled))
            spec = NetSpec(32, 1, macro_stages([row[op] for op in ops]), 1280, 10, 32)
        except ValueError as error:
            raise _other(path, error) from None
        found.setdefault(spec, (code, row))
        copies[code] = spec
    specs, numbers = list(found), {spec: number for number, spec in enumerate(found)}
    rows = [row for _, row in found.values()]
    for unit in ("params", "macs"):
        _check_counts(path, specs, unit, cells(path, rows, [unit])[:, 0].tolist())
    return TrainedNetworks(
        MACRO,
        specs,
        cells(path, rows, seeds),
        np.array([code for code, _ in found.values()]),
        (*(3,) * len(ops), *filled),
        copies={code: numbers[spec] for code, spec in copies.items()},
    )


def to_blocks(num: int) -> tuple[int, ...]:
    """Sizes of decisions without a choice that fill ``num`` others up to whole blocks.

    Controllers log their entropies by the decisions of a block.
    """
    return (1,) * (-num % len(DECISIONS))


def macro_stages(ops: Sequence[str]) -> tuple[Stage, ...]:
    """One stage for each layer, by their ops; nothing is left out where it begins no stage."""
    stages, rest = [], iter(ops)
    for width, depth in MACRO_STAGES:
        first, *others = (next(rest) for _ in range(depth))
        kept = [first, *(op for op in others if op != "0")]
        stages += [
            Stage(*MACRO_LAYERS[op], width, 1, 1 if number else 2) for number, op in enumerate(kept)
        ]
    return tuple(stages)


def _check_counts(path: Path, specs: Sequence[NetSpec], column: str, told: Sequence[float]) -> None:
    """Refuse a table whose columns are of other networks than we make of them."""
    unit = "macs" if column.startswith("macs") else "params"
    for number in range(0, len(specs), -(-len(specs) // CHECKED)):
        ours = getattr(count(specs[number]), unit)
        if abs(ours - told[number]) > 1:
            raise UserError(
                f"{path}, network {number}: {column} is {told[number]:.0f}, but a network of its"
                f" columns has {ours}: {PAGE}"
            )


def _other(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} describes no such networks ({error}): {PAGE}")


def cells(path: Path, rows: Sequence[dict[str, str]], columns: Sequence[str]) -> np.ndarray:
    """Numbers (M, C) in ``columns`` of the rows of a file.

    Raises:
        UserError: for a cell that is none.
    """
    try:
        found = np.array([[float(row[name]) for name in columns] for row in rows])
    except (TypeError, ValueError) as error:
        raise _other(path, error) from None
    if not len(found) or not np.isfinite(found).all():
        raise _other(path, ValueError("a number is missing or not finite"))
    return found


def rows_of(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a csv file with a header.

    Raises:
        UserError: when it is missing or lacks one of ``columns``.
    """
    if not path.exists():
        raise UserError(f"{path} is missing: {PAGE}")
    reader = csv.DictReader(read_text(path, PAGE).splitlines())
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing:
        raise UserError(f"{path} lacks the column {missing[0]}: {PAGE}")
    return list(reader)
