"""Building a LatencyTable: measure every part alone and some networks whole, then fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernet.latency.baselines import baselines
from supernet.latency.correction import Times
from supernet.latency.device import subject_key
from supernet.latency.fitting import Sums, choose
from supernet.latency.journal import Rounds
from supernet.latency.judging import judge, truth
from supernet.latency.measuring import NETWORKS, PARTS, Bench, Estimates, Limits, Session
from supernet.latency.plan import Effort, Plan
from supernet.latency.table import LatencyTable, MeasuredNetwork
from supernet.parts import parts
from supernet.spec import NetSpec


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
    validation = judge(predicted, held_out, {
        name: model(chosen.held_out) for name, model in fitted.items()
    })  # fmt: skip
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
            NETWORKS, len(chosen.networks),
            effort.network_sessions, effort.network_seconds,
        ),
    }  # fmt: skip
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
