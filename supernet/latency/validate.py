"""Validating a table: fresh random networks, measured anew on its device."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from supernet.archfile import write_atomic
from supernet.errors import UserError
from supernet.fields import read_as
from supernet.latency.backends import Backend
from supernet.latency.baselines import baselines
from supernet.latency.device import DESCRIPTION, Device, device_name, subject_key
from supernet.latency.files import models_path
from supernet.latency.fitting import Sums
from supernet.latency.journal import Journal
from supernet.latency.judging import judge, truth
from supernet.latency.measuring import NETWORKS, Bench, Estimates, Limits, Session
from supernet.latency.plan import draw, middle
from supernet.latency.table import LatencyTable
from supernet.latency.validation import Validation
from supernet.parts import parts
from supernet.progress_lines import ProgressLines
from supernet.space import MnasSpace
from supernet.spec import NetSpec


def validate_file(
    table: LatencyTable, path: Path, changed: Mapping[str, str], networks: int, sessions: int,
    rounds: int, seed: int, strict: bool,
) -> Validation:  # fmt: skip
    """Measure networks that the table has not seen, and write what came out beside it.

    Raw times lie in ``NAME.validation-SEED.raw.jsonl``, so that a validation that was stopped goes
    on, and figures in ``NAME.validation-SEED.json``.

    Args:
        table: to judge.
        path: of its file.
        changed: settings of the backend that replace the table's.
        networks: how many.
        sessions: over all of them.
        rounds: in each session.
        seed: of the networks.
        strict: refuse a table of another device instead of warning.

    Raises:
        UserError: when the device is missing or, if strict, another one.
    """
    space = space_of(table)
    settings = {**table.fingerprint.get("settings", {}), **changed}
    backend = Backend.from_plain(settings)
    fresh = draw(space, [one.spec for one in table.networks], networks, seed=seed)
    if len(fresh) < networks:
        raise UserError(f"the space has {len(fresh)} networks that the table has not seen: lower"
                        f" --networks {networks}")  # fmt: skip
    stem = path.with_suffix(f".validation-{seed}.json")
    with backend.open(models_path(path)) as device:
        check_device(table, device, strict)
        bench, measured = _measure(device, middle(space), fresh, sessions, rounds, stem)
    _tell_drift(table.reference_ms, bench.quiet_ms())
    estimates = Estimates(measured, table.reference_ms)
    log_ms = estimates.log_ms([subject_key(spec) for spec in fresh])
    validation = judge(_predict(table, fresh), log_ms, _others(table, fresh))
    rows = [
        {"spec": dataclasses.asdict(spec), "predicted": table.predict(spec),
         "log_ms": [None if math.isnan(log) else log for log in logs.tolist()]}
        for spec, logs in zip(fresh, log_ms.T, strict=True)
    ]  # fmt: skip
    report = {"table": table.hash, "validation": dataclasses.asdict(validation), "networks": rows}
    write_atomic(stem, (json.dumps(report, indent=1) + "\n").encode())
    return validation


def space_of(table: LatencyTable) -> MnasSpace:
    """The space that a table was built for."""
    return read_as(MnasSpace, table.fingerprint["space"], "fingerprint.space.", partial=True)


def check_device(table: LatencyTable, device: Device, strict: bool) -> None:
    """Warn of, or refuse, a device that is not the table's.

    Raises:
        UserError: if strict, naming both.
    """
    here = device.describe()
    differ = [name for name in DESCRIPTION if here[name] != table.fingerprint[name]]
    if not differ:
        return
    message = (
        f"the table is of another {' and '.join(differ)}: it holds for {table.device}, this is"
        f" {device_name(here)}"
    )
    if strict:
        raise UserError(f"{message}; build a table for it, or leave out --strict")
    sys.stderr.write(f"warning: {message}\n")


def _measure(
    device: Device, reference: NetSpec, specs: list[NetSpec], sessions: int, rounds: int, path: Path
) -> tuple[Bench, list[Session]]:
    """Sessions over the networks, and where they were measured."""
    plan = json.loads(json.dumps({**device.describe(), "networks": [s.to_json() for s in specs]}))
    total = sessions * rounds
    with Journal(path.with_suffix(".raw.jsonl"), plan) as journal, ProgressLines() as bar:
        task = bar.add_task("validate", total=total, status=f"rounds of {len(specs)} networks")
        bench = Bench(device, reference, journal)

        def advance(_: float) -> None:
            groups = -(-len(specs) // NETWORKS.group_size)
            done = sum(map(len, journal.groups.values()))
            bar.update(task, completed=done // groups)

        bench.progress = advance
        advance(0.0)
        measured = [
            bench.measure(f"networks {number}", specs, NETWORKS, Limits(math.inf, rounds))
            for number in range(sessions)
        ]
    return bench, measured


def _tell_drift(before: float, now: float) -> None:
    """Say how much the machine has changed since the table was built."""
    sys.stdout.write(
        f"the reference network takes {now:.4g} ms, and took {before:.4g} when the table was built:"
        f" {now / before - 1:+.1%}; times are scaled to the table's\n"
    )


def _predict(table: LatencyTable, specs: list[NetSpec]) -> Any:
    return Sums(table.entries, [parts(spec) for spec in specs]).predict(table.correction.weights)


def _others(table: LatencyTable, specs: list[NetSpec]) -> dict[str, Any]:
    known = table.measured("calibration")
    logs = [[math.log(one.ms)] for one in known]
    models = baselines(table.entries, [one.spec for one in known], truth(np.array(logs).T))
    return {name: model(specs) for name, model in models.items()}
