"""The files of a build: the table, its raw times, and where model files lie meanwhile."""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from supernet.latency.backends import Backend
from supernet.latency.build import build, forecast
from supernet.latency.device import Device
from supernet.latency.journal import Journal
from supernet.latency.measuring import Bench
from supernet.latency.plan import Effort, Plan, middle
from supernet.latency.table import VERSION, LatencyTable, canonical_json
from supernet.progress_lines import ProgressLines
from supernet.space import MnasSpace


def build_file(
    device: Device, space: MnasSpace, chosen: Plan, effort: Effort, fingerprint: dict[str, Any],
    path: Path, progress: bool = True,
) -> LatencyTable:  # fmt: skip
    """Measure a table, going on where an earlier build was stopped, and save it.

    Args:
        device: what measures.
        space: whose layers are measured.
        chosen: parts and networks.
        effort: how long.
        fingerprint: of the table; raw times of another one are refused.
        path: of the table; raw times lie beside it (``raw_path``).
        progress: show a progress bar.

    Raises:
        UserError: when a file cannot be written, or belongs to another build.
    """
    with Journal(raw_path(path), fingerprint) as journal, ProgressLines(shown=progress) as bar:
        task = bar.add_task(
            "measure", total=effort.seconds, completed=round(journal.seconds),
            status="seconds, timing " + device.describe()["device"],
        )  # fmt: skip

        def advance(_: float) -> None:
            total = forecast(journal, chosen, effort)
            bar.update(task, completed=journal.seconds, total=total)

        table = build(Bench(device, middle(space), journal, advance), chosen, effort, fingerprint)
    command = shlex.join(["python", *sys.orig_argv[1:]])
    made = {"date": datetime.now(UTC).date().isoformat(), "command": command}
    table = dataclasses.replace(table, fingerprint={**fingerprint, **made})
    table.save(path)
    shutil.rmtree(models_path(path), ignore_errors=True)
    return table


def raw_path(path: Path) -> Path:
    """Where the raw times of a table lie."""
    return path.with_suffix(".raw.jsonl")


def models_path(path: Path) -> Path:
    """Where model files lie while a table is built; nothing, for backends without files."""
    return path.with_suffix(".models")


def fingerprint_of(
    device: Device, space: MnasSpace, chosen: Plan, effort: Effort, backend: Backend
) -> dict[str, Any]:
    """What is measured on what, as a file gives it back."""
    fields = {
        **device.describe(),
        "settings": backend.plain(),
        "space": dataclasses.asdict(space),
        "subjects": chosen.digest,
        "effort": dataclasses.asdict(effort),
        "version": VERSION,
    }
    return dict(json.loads(canonical_json(fields)))
