"""Rows: the figures of a check, printed and appended to $OUT/gpu_check.jsonl."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.gpu_check.machine import device_name
from benchmarks.record import record

NAME = "gpu_check"


def out_folder() -> Path:
    """Where a check leaves its rows and logs."""
    return Path(os.environ.get("OUT", f"runs/{NAME}"))


def rows_path() -> Path:
    """The file of the rows."""
    return out_folder() / f"{NAME}.jsonl"


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
        record(NAME, config, 0, {"value": value, "unit": unit, "note": note}, out_folder())
