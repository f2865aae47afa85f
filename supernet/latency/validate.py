"""Validating a table: fresh random networks, measured anew on its device."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from supernet.command.output import ProgressLines
from supernet.cost.parts import parts
from supernet.errors import UserError
from supernet.files.writing import write_atomic
from supernet.latency.build import models_path
from supernet.latency.devices.backends import Backend
from supernet.latency.devices.device import DESCRIPTION, Device, device_name
from supernet.latency.models.subject import subject_key
from supernet.latency.table.baselines import baselines
from supernet.latency.table.bench import NETWORKS, Bench, Estimates, Limits, Session
from supernet.latency.table.correction import Sums
from supernet.latency.table.plan import middle, random_networks
from supernet.latency.table.rounds import Journal
from supernet.latency.table.statistics import judge, truth
from supernet.latency.table.table import LatencyTable
from supernet.latency.table.validation import SESSIONS, Validation
from supernet.space.spec import NetSpec

ANCHORS = 16
"""Networks that calibrated the table and are measured again: they tell how fast the machine is."""
MAX_DRIFT = 0.15
"""Change of speed since the table was built beyond which no claim on it can rest."""


class Checked(NamedTuple):
    """What a validation found."""

    validation: Validation
    drift: float
    """By what share the anchors take longer than when the table was built."""
    objection: str
    """Why no claim can rest on it; empty if one can."""


class Amount(NamedTuple):
    """How much a validation measures."""

    networks: int
    sessions: int
    """Over all networks; up to twice as many, until enough of them count."""
    rounds: int
    seed: int
    """Of the networks."""


def validate_file(
    table: LatencyTable, path: Path, backend: Backend, amount: Amount, strict: bool
) -> Checked:
    """Measure networks that the table has not seen, and write what came out beside it.

    Raw times lie in ``NAME.validation-SEED.raw.jsonl``, so that a validation that was stopped goes
    on, and figures in ``NAME.validation-SEED.json``. Times are scaled to the machine's speed when
    the table was built, by networks that calibrated it.

    Args:
        table: to judge.
        path: of its file.
        backend: to measure with.
        amount: how much.
        strict: refuse a table of another device instead of warning.

    Raises:
        UserError: when the device is missing or, if strict, another one.
    """
    space = table.space
    measured = [one.spec for one in table.networks]
    fresh = random_networks(space, measured, amount.networks, seed=amount.seed)
    if len(fresh) < amount.networks:
        raise UserError(
            f"the space has {len(fresh)} networks that the table has not seen: lower"
            f" --networks {amount.networks}"
        )
    known = table.measured("calibration")
    anchors = random.Random(amount.seed).sample(known, min(ANCHORS, len(known)))
    stem = path.with_suffix(f".validation-{amount.seed}.json")
    with backend.open(models_path(path)) as device:
        objection = check_device(table, device, strict)
        specs = [*fresh, *(one.spec for one in anchors)]
        estimates = _measure(device, table, middle(space), specs, amount, stem)
    before = np.log([one.ms for one in anchors])
    drift = float(np.mean(_log_ms(estimates, specs[len(fresh) :]).mean(0) - before))
    log_ms = estimates.log_ms([subject_key(spec) for spec in fresh]) - drift
    if abs(drift) > math.log1p(MAX_DRIFT):
        objection = objection or (
            f"the machine's speed has changed by {math.expm1(drift):+.1%} since the table was"
            " built: build it anew before claiming anything of it"
        )
    validation = judge(_predict(table, fresh), log_ms, _others(table, fresh))
    _write(stem, table, validation, drift, fresh, log_ms)
    shutil.rmtree(models_path(path), ignore_errors=True)
    return Checked(validation, math.expm1(drift), objection)


def _log_ms(estimates: Estimates, specs: Sequence[NetSpec]) -> NDArray[np.float64]:
    """Mean logarithms (1, networks) over the sessions that count."""
    logs = estimates.log_ms([subject_key(spec) for spec in specs])
    return np.nanmean(logs, axis=0, keepdims=True)


def _write(
    path: Path,
    table: LatencyTable,
    validation: Validation,
    drift: float,
    specs: Sequence[NetSpec],
    log_ms: NDArray[np.float64],
) -> None:
    rows = [
        {
            "spec": dataclasses.asdict(spec),
            "predicted": table.predict(spec),
            "log_ms": [None if math.isnan(log) else log for log in logs.tolist()],
        }
        for spec, logs in zip(specs, log_ms.T, strict=True)
    ]
    report = {
        "table": table.hash,
        "validation": dataclasses.asdict(validation),
        "drift": math.expm1(drift),
        "networks": rows,
    }
    write_atomic(path, (json.dumps(report, indent=1) + "\n").encode())


def check_device(table: LatencyTable, device: Device, strict: bool) -> str:
    """Warn of, or refuse, a device that is not the table's.

    Returns:
        Why no claim on the table can rest on this device; empty for the table's own.

    Raises:
        UserError: if strict, naming both.
    """
    here = device.description()
    differ = [name for name in DESCRIPTION if here[name] != table.fingerprint[name]]
    if not differ:
        return ""
    message = (
        f"the table is of another {' and '.join(differ)}: it holds for {table.device}, this is"
        f" {device_name(here)}"
    )
    if strict:
        raise UserError(f"{message}; build a table for it, or leave out --strict")
    sys.stderr.write(f"warning: {message}\n")
    return message


def _measure(
    device: Device,
    table: LatencyTable,
    reference: NetSpec,
    specs: list[NetSpec],
    amount: Amount,
    path: Path,
) -> Estimates:
    """The times of networks, in sessions that lie in a journal beside ``path``."""
    keys = [subject_key(spec) for spec in specs]
    digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]
    plan = {**device.description(), "table": table.hash, "networks": [len(keys), digest]}
    raw, groups = path.with_suffix(".raw.jsonl"), -(-len(specs) // NETWORKS.group_size)
    with Journal(raw, plan, "give another --seed") as journal, ProgressLines() as bar:
        total, known = amount.sessions * amount.rounds, journal.seconds
        task = bar.add_task("validate", total=total, status=f"rounds of {len(specs)} networks")
        bench = Bench(device, reference, journal)

        def advance(_: float) -> None:
            done = sum(map(len, journal.groups.values())) // groups
            bar.update(task, completed=done, total=max(total, done))

        bench.progress = advance
        advance(0.0)
        measured: list[Session] = []
        limits = Limits(math.inf, amount.rounds)
        while True:
            name = f"networks {len(measured)}"
            measured.append(bench.measure(name, specs, NETWORKS, limits))
            if len(measured) < amount.sessions:
                continue
            estimates = Estimates(measured, bench.quiet_ms("networks"))
            counted = (~np.isnan(estimates.log_ms(keys))).sum(0).min()
            if counted >= min(SESSIONS, amount.sessions) or len(measured) >= 2 * amount.sessions:
                break
        if journal.seconds == known:
            sys.stdout.write(
                f"nothing was measured anew: {raw} holds all of it; give another --seed for fresh"
                " networks\n"
            )
    return estimates


def _predict(table: LatencyTable, specs: list[NetSpec]) -> Any:
    return Sums(table.entries, [parts(spec) for spec in specs]).predict(table.correction.weights)


def _others(table: LatencyTable, specs: list[NetSpec]) -> dict[str, Any]:
    known = table.measured("calibration")
    logs = [[math.log(one.ms)] for one in known]
    models = baselines(table.entries, [one.spec for one in known], truth(np.array(logs).T))
    return {name: model(specs) for name, model in models.items()}
