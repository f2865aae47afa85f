"""Public tables of networks that others have trained, as architectures of ours."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from supernet.cost.counts import count
from supernet.errors import UserError
from supernet.files.reading import read_text
from supernet.space.arch import Arch, BlockChoice
from supernet.space.mnasnet import MnasSpace, Restriction
from supernet.space.spec import NetSpec
from supernet.space.stage import Stage

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
MACRO_LAYERS = {"1": (3, 3), "2": (6, 5)}
"""Expansion and kernel of NAS-Bench-Macro's layers; 0 is none."""
MACRO_STAGES = ((64, 2), (128, 3), (256, 3))
"""Width and most layers of its three stages."""


@dataclass(frozen=True)
class TrainedNetworks:
    """N networks of a table and what they reached when others trained them."""

    name: str
    specs: list[NetSpec]
    accuracies: np.ndarray
    """(N, S) in points, one column for each seed."""
    codes: np.ndarray | None = None
    """(N, D) indices in the table's space, where it has one."""

    @property
    def macs(self) -> np.ndarray:
        """Multiply-accumulates (N,) as we count them."""
        return np.array([count(spec).macs for spec in self.specs], dtype=float)


def read_accel(path: Path) -> TrainedNetworks:
    """The 5,138 networks of Accel-NASBench (Ahmad et al. 2024), ImageNet top-1 after 16 epochs.

    Raises:
        UserError: for a file that is missing, and for one whose columns say something else.
    """
    blocks = range(1, len(WIDTHS) + 1)
    names = [f"{kind}{block}" for kind in ("e", "k", "l", "se") for block in blocks]
    rows = _rows(path, [*names, "top1", "params_m"])
    try:
        archs = [_accel_arch(row) for row in rows]
        codes = np.array([ACCEL_SPACE.encode(arch) for arch in archs])
        accuracies = np.array([[float(row["top1"])] for row in rows])
        params = [float(row["params_m"]) for row in rows]
    except (KeyError, ValueError, UserError) as error:
        raise UserError(f"{path} describes no such networks ({error}): {PAGE}") from None
    specs = [ACCEL_SPACE.spec(arch) for arch in archs]
    for number in range(0, len(specs), -(-len(specs) // CHECKED)):
        ours = count(specs[number]).params / 1e6
        if abs(ours - params[number]) > 1e-6:
            raise UserError(
                f"{path}, network {number}: params_m is {params[number]}, but a network of its"
                f" columns has {ours}: {PAGE}"
            )
    return TrainedNetworks("Accel-NASBench", specs, accuracies, codes)


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
    """The networks of NAS-Bench-Macro (Su et al. 2021) that are ours, CIFAR-10, three trainings.

    Left out are those whose stage begins with nothing, which is a convolution without activation
    there, and copies: where a layer that is nothing stands does not matter.

    Raises:
        UserError: for a file that is missing, and for one whose columns say something else.
    """
    ops = [f"op{number}" for number in range(1, 9)]
    seeds = ["acc_s1", "acc_s2", "acc_s3"]
    found: dict[NetSpec, list[float]] = {}
    for row in _rows(path, [*ops, *seeds]):
        try:
            stages = _macro_stages([row[op] for op in ops])
            if stages:
                spec = NetSpec(32, 1, stages, 1280, 10, 32)
                found.setdefault(spec, [float(row[seed]) for seed in seeds])
        except (KeyError, ValueError) as error:
            raise UserError(f"{path} describes no such networks ({error}): {PAGE}") from None
    return TrainedNetworks("NAS-Bench-Macro", list(found), np.array(list(found.values())))


def _macro_stages(ops: Sequence[str]) -> tuple[Stage, ...]:
    """One stage for each layer; empty for a network that we lack."""
    stages, rest = [], iter(ops)
    for width, depth in MACRO_STAGES:
        own = [next(rest) for _ in range(depth)]
        if own[0] == "0":
            return ()
        kept = [MACRO_LAYERS[op] for op in own if op != "0"]
        stages += [
            Stage("mbconv", kernel, expand, 0.0, "identity", width, 1, 1 if number else 2)
            for number, (expand, kernel) in enumerate(kept)
        ]
    return tuple(stages)


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    if not path.exists():
        raise UserError(f"{path} is missing: {PAGE}")
    reader = csv.DictReader(read_text(path, PAGE).splitlines())
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing:
        raise UserError(f"{path} lacks the column {missing[0]}: {PAGE}")
    return list(reader)
