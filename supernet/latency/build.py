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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernet.command.output import ProgressLines
from supernet.cost.parts import parts
from supernet.files.writing import canonical_json
from supernet.latency.devices.backends import Backend
from supernet.latency.devices.device import Device
from supernet.latency.models.subject import subject_key
from supernet.latency.table.baselines import baselines
from supernet.latency.table.bench import NETWORKS, PARTS, Bench, Estimates, Limits, Session
from supernet.latency.table.correction import Sums, Times, choose
from supernet.latency.table.plan import Effort, Plan, middle
from supernet.latency.table.rounds import Journal, Rounds
from supernet.latency.table.statistics import judge, truth
from supernet.latency.table.table import VERSION, LatencyTable, MeasuredNetwork
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec


def build(
    bench: Bench, chosen: Plan, effort: Effort, fingerprint: Mapping[str, Any]
) -> LatencyTable:
    """Measure what the bench does not know yet, and fit.

    Args:
        bench: where to measure.
        chosen: what to measure.
        effort: how long.
        fingerprint: of the table.
    """
    part_sessions, network_sessions = _measure(bench, chosen, effort)
    quiet = bench.quiet_ms("networks")
    parted = Estimates(part_sessions, bench.quiet_ms("parts"))
    whole = Estimates(network_sessions, quiet)
    entries = {part.key: parted.mean(part.key) for part in chosen.parts}
    calibration, held_out = (
        _log_ms(whole, specs) for specs in (chosen.calibration, chosen.held_out)
    )
    correction = choose(_sums(entries, chosen.calibration), truth(calibration))
    predicted = _sums(entries, chosen.held_out).predict(correction.weights)
    fitted = baselines(entries, chosen.calibration, truth(calibration))
    validation = judge(
        predicted, held_out, {name: model(chosen.held_out) for name, model in fitted.items()}
    )
    networks = (
        *_measured(chosen.calibration, calibration, "calibration"),
        *_measured(chosen.held_out, held_out, "held out"),
        *_measured(chosen.references, _log_ms(whole, chosen.references), "reference"),
    )
    return LatencyTable(fingerprint, entries, correction, validation, quiet, networks)


def _measure(bench: Bench, chosen: Plan, effort: Effort) -> tuple[list[Session], list[Session]]:
    """Sessions over the parts and over the networks, in turns."""
    part_sessions: list[Session] = []
    network_sessions: list[Session] = []
    for number in range(effort.network_sessions):
        limits = Limits(effort.network_seconds, effort.rounds)
        network_sessions.append(
            bench.measure(f"networks {number}", chosen.networks, NETWORKS, limits)
        )
        if number < effort.part_sessions:
            limits = Limits(effort.part_seconds, effort.rounds)
            part_sessions.append(bench.measure(f"parts {number}", chosen.parts, PARTS, limits))
    return part_sessions, network_sessions


def forecast(rounds: Rounds, chosen: Plan, effort: Effort) -> float:
    """Seconds that a whole build will take, going by the groups that are finished."""
    kinds = {
        "parts": (PARTS, len(chosen.parts), effort.part_sessions, effort.part_seconds),
        "networks": (
            NETWORKS,
            len(chosen.networks),
            effort.network_sessions,
            effort.network_seconds,
        ),
    }
    total = 0.0
    for kind, (turns, subjects, sessions, seconds) in kinds.items():
        groups = -(-subjects // turns.group_size)
        known = [rounds.of(name) for name in rounds.finished if name.startswith(kind)]
        mean = seconds / groups
        if known:
            spent = sum(one.seconds + one.loading for group in known for one in group)
            mean = spent / len(known)
        total += mean * groups * sessions
    return max(total, rounds.seconds)


def _log_ms(estimates: Estimates, specs: Sequence[NetSpec]) -> NDArray[np.float64]:
    return estimates.log_ms([subject_key(spec) for spec in specs])


def _sums(entries: Mapping[str, Times], specs: Sequence[NetSpec]) -> Sums:
    return Sums(entries, [parts(spec) for spec in specs])


def _measured(
    specs: Sequence[NetSpec], log_ms: NDArray[np.float64], role: str
) -> list[MeasuredNetwork]:
    return [
        MeasuredNetwork(spec, tuple(logs[~np.isnan(logs)].tolist()), role)
        for spec, logs in zip(specs, log_ms.T, strict=True)
    ]


def build_file(
    device: Device,
    space: MnasSpace,
    chosen: Plan,
    effort: Effort,
    fingerprint: dict[str, Any],
    path: Path,
    progress: bool = True,
) -> LatencyTable:
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
            "measure",
            total=effort.seconds,
            completed=round(journal.seconds),
            status="seconds, timing " + device.description()["device"],
        )

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
        **device.description(),
        "settings": backend.plain(),
        "space": dataclasses.asdict(space),
        "subjects": chosen.digest,
        "effort": dataclasses.asdict(effort),
        "version": VERSION,
    }
    return dict(json.loads(canonical_json(fields)))
