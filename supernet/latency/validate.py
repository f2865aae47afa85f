"""Validating a table: fresh random networks, measured anew on its device."""

import dataclasses
import hashlib
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from supernet.command.output import ProgressLines
from supernet.errors import UserError
from supernet.files.writing import write_json
from supernet.latency.devices.device import Device, device_name
from supernet.latency.table.baselines import baselines
from supernet.latency.table.bench import NETWORKS, Bench, Estimates, Group
from supernet.latency.table.plan import middle_network, random_networks
from supernet.latency.table.rounds import Rounds
from supernet.latency.table.table import LatencyTable
from supernet.latency.table.validation import MIN_SESSIONS, Validation, validation_of
from supernet.space.spec import NetSpec

ANCHORS = 16
"""Networks that calibrated the table and are measured again: they tell how fast the machine is."""
MAX_DRIFT = 0.15
"""Change of speed since the table was built beyond which no claim on it can rest."""


class Outcome(NamedTuple):
    """What a validation found."""

    validation: Validation
    drift: float
    """Share by which the anchors take longer than when the table was built."""
    objection: str
    """Why no claim can rest on it; empty if one can."""


class Amount(NamedTuple):
    """How much a validation measures."""

    networks: int
    sessions: int
    """Sessions over all networks; up to twice as many, until enough of them count."""
    rounds: int
    seed: int
    """Seed of the networks."""


def validate_table(
    device: Device, table: LatencyTable, path: Path, amount: Amount, strict: bool
) -> Outcome:
    """Measure networks that the table at ``path`` has not seen, and write what came out beside it.

    Raw times lie in ``NAME.validation-SEED.raw.jsonl``, so that a validation that was stopped goes
    on, and figures in ``NAME.validation-SEED.json``. Times are scaled to the machine's speed when
    the table was built, by networks that calibrated it.

    Raises:
        UserError: when the device fails or, if ``strict``, is not the table's.
    """
    seen = [one.spec for one in table.networks]
    fresh = random_networks(table.space, seen, amount.networks, seed=amount.seed)
    if len(fresh) < amount.networks:
        raise UserError(
            f"the space has {len(fresh)} networks that the table has not seen: lower"
            f" --networks {amount.networks}"
        )
    known = table.measured("calibration")
    anchors = random.Random(amount.seed).sample(known, min(ANCHORS, len(known)))
    report = path.with_suffix(f".validation-{amount.seed}.json")
    objection = check_device(table, device, strict)
    specs = [*fresh, *(one.spec for one in anchors)]
    estimates = _measure(device, table, specs, amount, report.with_suffix(".raw.jsonl"))
    now = np.nanmean(estimates.log_ms([one.spec for one in anchors]), axis=0)
    log_drift = float(np.mean(now - np.log([one.ms for one in anchors])))
    drift = math.expm1(log_drift)
    if abs(log_drift) > math.log1p(MAX_DRIFT):
        objection = objection or (
            f"the machine's speed has changed by {drift:+.1%} since the table was built: build it"
            " anew before claiming anything of it"
        )
    log_ms = estimates.log_ms(fresh) - log_drift
    calibration, ms = [one.spec for one in known], np.array([one.ms for one in known])
    validation = validation_of(
        np.array([table.predict(spec) for spec in fresh]),
        log_ms,
        baselines(table.entries, calibration, ms, fresh),
    )
    outcome = Outcome(validation, drift, objection)
    _write_report(report, table, outcome, fresh, log_ms)
    return outcome


def _write_report(
    path: Path,
    table: LatencyTable,
    outcome: Outcome,
    specs: Sequence[NetSpec],
    log_ms: NDArray[np.float64],
) -> None:
    rows = [
        {
            "spec": dataclasses.asdict(spec),
            "predicted": table.predict(spec),
            "log_ms": [None if math.isnan(log) else log for log in logs],
        }
        for spec, logs in zip(specs, log_ms.T.tolist(), strict=True)
    ]
    validation = dataclasses.asdict(outcome.validation)
    fields = {"table": table.hash, "validation": validation, "drift": outcome.drift}
    write_json(path, {**fields, "networks": rows})


def check_device(table: LatencyTable, device: Device, strict: bool) -> str:
    """Why no claim on the table can rest on this device, also warned of; empty for its own.

    Raises:
        UserError: if ``strict``, naming both.
    """
    here = device.description()
    differ = [name for name, value in here.items() if table.fingerprint[name] != value]
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
    device: Device, table: LatencyTable, specs: list[NetSpec], amount: Amount, raw: Path
) -> Estimates:
    """The times of networks, in sessions that lie in the file ``raw``."""
    keys = [spec.to_json() for spec in specs]
    digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]
    plan = {**device.description(), "table": table.hash, "networks": [len(keys), digest]}
    num_groups = -(-len(specs) // NETWORKS.group_size)
    with Rounds(raw, plan, "give another --seed") as rounds, ProgressLines() as bar:
        total, known = amount.sessions * amount.rounds, rounds.seconds
        task = bar.add_task("validate", total=total, status=f"rounds of {len(specs)} networks")

        def advance(_: float) -> None:
            done = sum(map(len, rounds.groups.values())) // num_groups
            bar.update(task, completed=done, total=max(total, done))

        bench = Bench(device, middle_network(table.space), rounds, advance)
        advance(0.0)
        sessions: list[list[Group]] = []
        counted = 0
        enough = min(MIN_SESSIONS, amount.sessions)
        while len(sessions) < amount.sessions or (
            counted < enough and len(sessions) < 2 * amount.sessions
        ):
            sessions.append(bench.measure(NETWORKS, len(sessions), specs, amount.rounds))
            estimates = bench.estimates(NETWORKS, sessions)
            counted = (~np.isnan(estimates.log_ms(specs))).sum(0).min()
        if rounds.seconds == known:
            sys.stdout.write(
                f"nothing was measured anew: {raw} holds all of it; give another --seed for fresh"
                " networks\n"
            )
    return estimates
