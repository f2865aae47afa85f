"""Rows: the figures of a check, printed and appended to $OUT/gpu_check.jsonl."""

from __future__ import annotations

import json
import os
from pathlib import Path

from benchmarks.gpu_check.machine import GPU, device_name
from benchmarks.record import RESULTS, record
from supernet.errors import UserError

NAME = "gpu_check"
RATES = {
    "warm-up": "multiply-adds of warm-up steps",
    "uniform": "multiply-adds of uniform steps",
    "alone": "multiply-adds of steps of extracted networks",
    "retraining": "multiply-adds of steps of a retraining",
}
"""Rows that ``benchmarks.search_cost`` reads, by what they are of: forward passes' multiply-adds a
second, of which a training step has three times those of its forward pass."""


def out_folder() -> Path:
    """Where a check leaves its rows and logs."""
    return Path(os.environ.get("OUT", f"runs/{NAME}"))


def rows_path() -> Path:
    """The file of the rows."""
    return out_folder() / f"{NAME}.jsonl"


def keep(path: Path) -> None:
    """Append the rows of a check to ``benchmarks/results``, which is committed.

    Raises:
        UserError: when there are none, or none of a GPU: those of a CPU tell of no speed.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: run the check first, or name the file of its rows")
    lines = path.read_text().splitlines()
    kept = [line for line in lines if json.loads(line).get("gpu")]
    if not kept:
        raise UserError(f"{path} has no row of a GPU: only such rows are kept; run it on one")
    target = RESULTS / f"{NAME}.jsonl"
    with target.open("a") as file:
        file.writelines(f"{line}\n" for line in kept)
    print(f"{len(kept)} rows of {path} appended to {target}")


class Rows:
    """The figures of one section."""

    def __init__(self, section: str) -> None:
        """``section`` is what produces them."""
        self.section = section

    def add(self, name: str, value: float | str, unit: str = "", note: str = "") -> None:
        """Print a figure and append it to the file; only descriptions of the machine are texts."""
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        print(f"{name:<58} | {shown:>12} | {unit:<8} | {note}", flush=True)
        config = {"device": device_name(), "section": self.section, "name": name}
        found = {"value": value, "unit": unit, "note": note, "gpu": GPU}
        record(NAME, config, 0, found, out_folder())
