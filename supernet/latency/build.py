"""Building a LatencyTable: measure every part alone and some networks whole, then fit."""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from supernet.command.output import ProgressLines
from supernet.cost.timed_layers import timed_layers
from supernet.files.writing import canonical_json
from supernet.latency.devices.backends import Backend
from supernet.latency.devices.device import Device
from supernet.latency.models.subject import Subject
from supernet.latency.table.baselines import baselines
from supernet.latency.table.bench import (
    LAYERS,
    NETWORKS,
    Bench,
    Estimates,
    Group,
    Limits,
    SubjectKind,
)
from supernet.latency.table.correction import LayerSums, Times, fit_correction
from supernet.latency.table.plan import Effort, Plan, middle_network
from supernet.latency.table.rounds import Rounds, RoundsFile
from supernet.latency.table.table import VERSION, LatencyTable, MeasuredNetwork
from supernet.latency.table.validation import mean_ms, validation_of
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec


def build_table(
    device: Device,
    space: MnasSpace,
    plan: Plan,
    effort: Effort,
    fingerprint: dict[str, Any],
    path: Path,
    progress: bool = True,
) -> LatencyTable:
    """Measure a table, going on where an earlier build was stopped, and save it.

    Args:
        device: what measures.
        space: whose layers are measured.
        plan: parts and networks.
        effort: how long.
        fingerprint: of the table; raw times of another one are refused.
        path: of the table; raw times lie beside it (``raw_path``).
        progress: show a progress bar.

    Raises:
        UserError: when a file cannot be written, or belongs to another build.
    """
    with RoundsFile(raw_path(path), fingerprint) as rounds, ProgressLines(shown=progress) as bar:
        task = bar.add_task(
            "measure",
            total=effort.seconds,
            completed=round(rounds.seconds),
            status="seconds, timing " + device.description()["device"],
        )

        def advance(_: float) -> None:
            total = forecast_seconds(rounds, plan, effort)
            bar.update(task, completed=rounds.seconds, total=total)

        bench = Bench(device, middle_network(space), rounds, advance)
        table = _measure_and_fit(bench, plan, effort, fingerprint)
    command = shlex.join(["python", *sys.orig_argv[1:]])
    made = {"date": datetime.now(UTC).date().isoformat(), "command": command}
    table = dataclasses.replace(table, fingerprint={**fingerprint, **made})
    table.write(path)
    shutil.rmtree(models_path(path), ignore_errors=True)
    return table


def _measure_and_fit(
    bench: Bench, plan: Plan, effort: Effort, fingerprint: Mapping[str, Any]
) -> LatencyTable:
    """Measure what the bench does not know yet, and fit."""
    estimates = _measure(bench, plan, effort)
    entries = {part.key: estimates[LAYERS].mean(part) for part in plan.parts}
    roles = {"calibration": plan.calibration, "held out": plan.held_out}
    roles["reference"] = plan.references
    log_ms = {role: estimates[NETWORKS].log_ms(specs) for role, specs in roles.items()}
    ms = mean_ms(log_ms["calibration"])
    correction = fit_correction(_sums(entries, plan.calibration), ms)
    models = baselines(entries, plan.calibration, ms)
    validation = validation_of(
        _sums(entries, plan.held_out).predict(correction.weights),
        log_ms["held out"],
        {name: model(plan.held_out) for name, model in models.items()},
    )
    networks = tuple(
        MeasuredNetwork(spec, tuple(logs[~np.isnan(logs)].tolist()), role)
        for role, specs in roles.items()
        for spec, logs in zip(specs, log_ms[role].T, strict=True)
    )
    quiet_ms = bench.quiet_ms(NETWORKS)
    return LatencyTable(fingerprint, entries, correction, validation, quiet_ms, networks)


def _measure(bench: Bench, plan: Plan, effort: Effort) -> dict[SubjectKind, Estimates]:
    """Sessions over the parts and over the networks, in turns: the machine drifts for both."""
    kinds = _kinds(plan, effort)
    sessions: dict[SubjectKind, list[list[Group]]] = {one.kind: [] for one in kinds}
    for number in range(effort.network_sessions):
        for kind, subjects, num_sessions, seconds in kinds:
            if number < num_sessions:
                limits = Limits(seconds, effort.rounds)
                sessions[kind].append(bench.measure(kind, number, subjects, limits))
    return {kind: bench.estimates(kind, groups) for kind, groups in sessions.items()}


class _Sessions(NamedTuple):
    """What is measured of one kind."""

    kind: SubjectKind
    subjects: Sequence[Subject]
    num_sessions: int
    seconds: float
    """To aim at in one session."""


def _kinds(plan: Plan, effort: Effort) -> tuple[_Sessions, _Sessions]:
    return (
        _Sessions(NETWORKS, plan.networks, effort.network_sessions, effort.network_seconds),
        _Sessions(LAYERS, plan.parts, effort.part_sessions, effort.part_seconds),
    )


def forecast_seconds(rounds: Rounds, plan: Plan, effort: Effort) -> float:
    """Seconds that a whole build will take, going by the groups that are finished."""
    total = 0.0
    for kind, subjects, num_sessions, seconds in _kinds(plan, effort):
        num_groups = -(-len(subjects) // kind.group_size)
        known = [rounds.of(name) for name in rounds.finished if name.startswith(kind.name)]
        mean = seconds / num_groups
        if known:
            spent = sum(one.seconds + one.loading for group in known for one in group)
            mean = spent / len(known)
        total += mean * num_groups * num_sessions
    return max(total, rounds.seconds)


def _sums(entries: Mapping[str, Times], specs: Sequence[NetSpec]) -> LayerSums:
    return LayerSums(entries, [timed_layers(spec) for spec in specs])


def raw_path(path: Path) -> Path:
    """Where the raw times of a table lie."""
    return path.with_suffix(".raw.jsonl")


def models_path(path: Path) -> Path:
    """Where model files lie while a table is measured, for backends that need them."""
    return path.with_suffix(".models")


def fingerprint_of(
    device: Device, space: MnasSpace, plan: Plan, effort: Effort, backend: Backend
) -> dict[str, Any]:
    """What is measured on what, as a file gives it back."""
    fields = {
        **device.description(),
        "settings": backend.plain(),
        "space": dataclasses.asdict(space),
        "subjects": plan.digest,
        "effort": dataclasses.asdict(effort),
        "version": VERSION,
    }
    return dict(json.loads(canonical_json(fields)))
