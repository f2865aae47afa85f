"""Building a LatencyTable: measure every layer alone and some networks whole, then fit."""

import dataclasses
import json
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from supernet.command.output import ProgressLines
from supernet.errors import one_line
from supernet.files.writing import canonical_json
from supernet.latency.devices.backends import Backend
from supernet.latency.devices.device import Device
from supernet.latency.table.baselines import baselines
from supernet.latency.table.bench import LAYERS, NETWORKS, Bench, Estimates, Group, SubjectKind
from supernet.latency.table.correction import LayerSums, fit_correction
from supernet.latency.table.plan import Plan, middle_network
from supernet.latency.table.rounds import Rounds
from supernet.latency.table.table import TABLE_VERSION, LatencyTable, MeasuredNetwork
from supernet.latency.table.validation import mean_ms, validation_of


def build_table(
    device: Device,
    plan: Plan,
    fingerprint: dict[str, Any],
    path: Path,
    progress: bool = True,
    way_out: str = "name another --out",
) -> LatencyTable:
    """Measure a table, going on where an earlier build was stopped, and save it.

    Raw times lie beside the table (``raw_path``); those of another ``fingerprint`` are refused,
    with the ``way_out``.

    Raises:
        UserError: when a file cannot be written, or belongs to another build.
    """
    with (
        Rounds(raw_path(path), fingerprint, way_out) as rounds,
        ProgressLines(shown=progress) as bar,
    ):
        task = bar.add_task(
            "measure",
            total=plan.effort.seconds,
            completed=round(rounds.seconds),
            status="seconds, timing " + device.description()["device"],
        )

        def advance(_: float) -> None:
            bar.update(task, completed=rounds.seconds, total=forecast_seconds(rounds, plan))

        bench = Bench(device, middle_network(plan.space), rounds, advance)
        estimates = _measure(bench, plan)
        made = {"date": datetime.now(UTC).date().isoformat(), "command": _command()}
        table = _fit(plan, estimates, bench.quiet_ms(NETWORKS), {**fingerprint, **made})
    table.write(path)
    return table


def _command() -> str:
    """What was typed, in one line and without where this machine keeps its programs."""
    words = sys.orig_argv[1:]
    by_console = words and Path(words[0]).name == "mnasnet"
    return one_line(shlex.join(["mnasnet", *words[1:]] if by_console else ["python", *words]))


def _measure(bench: Bench, plan: Plan) -> dict[SubjectKind, Estimates]:
    """Sessions over networks and layers in turns, lest a machine that drifts does so for one."""
    measured: dict[SubjectKind, list[list[Group]]] = {NETWORKS: [], LAYERS: []}
    for number in range(max(sessions.number for sessions in plan.sessions)):
        for kind, subjects, num_sessions, seconds in plan.sessions:
            if number < num_sessions:
                groups = bench.measure(kind, number, subjects, plan.effort.rounds, seconds)
                measured[kind].append(groups)
    return {kind: bench.estimates(kind, sessions) for kind, sessions in measured.items()}


def _fit(
    plan: Plan,
    estimates: Mapping[SubjectKind, Estimates],
    reference_ms: float,
    fingerprint: Mapping[str, Any],
) -> LatencyTable:
    entries = {layer.key: estimates[LAYERS].mean(layer) for layer in plan.layers}
    roles = {"calibration": plan.calibration, "held out": plan.held_out}
    roles["reference"] = plan.references
    log_ms = {role: estimates[NETWORKS].log_ms(specs) for role, specs in roles.items()}
    ms = mean_ms(log_ms["calibration"])
    correction = fit_correction(LayerSums(entries, plan.calibration), ms)
    validation = validation_of(
        LayerSums(entries, plan.held_out).predict(correction.weights),
        log_ms["held out"],
        baselines(entries, plan.calibration, ms, plan.held_out),
    )
    networks = tuple(
        MeasuredNetwork(spec, tuple(logs[~np.isnan(logs)].tolist()), role)
        for role, specs in roles.items()
        for spec, logs in zip(specs, log_ms[role].T, strict=True)
    )
    return LatencyTable(fingerprint, entries, correction, validation, reference_ms, networks)


def forecast_seconds(rounds: Rounds, plan: Plan) -> float:
    """Seconds that a whole build will take, going by the groups that are finished."""
    total = 0.0
    for kind, subjects, num_sessions, seconds in plan.sessions:
        num_groups = -(-len(subjects) // kind.group_size)
        known = [rounds.of(name) for name in rounds.finished if name.startswith(kind.name)]
        spent = sum(one.seconds + one.loading for group in known for one in group)
        mean = spent / len(known) if known else seconds / num_groups
        total += mean * num_groups * num_sessions
    return max(total, rounds.seconds)


def raw_path(path: Path) -> Path:
    """Path of the raw times of a table."""
    return path.with_suffix(".raw.jsonl")


def fingerprint_of(device: Device, plan: Plan, backend: Backend) -> dict[str, Any]:
    """What is measured on what, as a file gives it back."""
    fields = {
        **device.description(),
        "settings": backend.plain(),
        "space": plan.space.plain(),
        "subjects": plan.digest,
        "effort": dataclasses.asdict(plan.effort),
        "version": TABLE_VERSION,
    }
    return dict(json.loads(canonical_json(fields)))
