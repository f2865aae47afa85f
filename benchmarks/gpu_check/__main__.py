"""``python -m benchmarks.gpu_check``: the check, some parts of it, or what is kept of it."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.gpu_check.machine import GPU
from benchmarks.gpu_check.parts import all_parts, run_parts, select
from benchmarks.gpu_check.rows import NAME, keep, out_folder, rows_path
from supernet.command.process import run_command

KEEP = "keep"


def main() -> None:
    """Run the parts one after another; their rows replace those of an earlier check in $OUT."""
    parser = argparse.ArgumentParser(prog="benchmarks/gpu_check/run.sh", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"all of them by default; or {KEEP} FILE"
    )
    parser.add_argument(
        "--limit", type=float, default=510 if GPU else 1500, help="seconds of all parts together"
    )
    options = parser.parse_args()
    if options.parts[:1] == [KEEP]:
        keep(Path(*options.parts[1:2]) if len(options.parts) == 2 else rows_path())
        return
    out_folder().mkdir(parents=True, exist_ok=True)
    for path in (rows_path(), out_folder() / f"{NAME}.log"):
        path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        parts = all_parts(Path(folder))
        if unknown := sorted(set(options.parts) - {part.name for part in parts}):
            parser.error(f"no part {unknown[0]}, only {', '.join(part.name for part in parts)}")
        run_parts(select(parts, options.parts), options.limit)


if __name__ == "__main__":
    run_command(main)
