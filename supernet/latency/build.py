"""Building a LatencyTable: measure every part alone and some networks whole, then fit."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear
from scipy.stats import kendalltau

from supernet.errors import UserError
from supernet.latency.device import subject_key
from supernet.latency.measuring import (
    NETWORKS,
    PARTS,
    Bench,
    Progress,
    Session,
    Times,
    estimate,
    mean_times,
)
from supernet.latency.table import Calibration, HeldOut, LatencyTable
from supernet.parts import Part, parts, space_parts
from supernet.space import MnasSpace
from supernet.spec import NetSpec

NETWORK_SHARE = 0.35
"""Of the time: two or more sessions of whole networks; the rest goes to the parts."""


MIN_NETWORKS = 8


@dataclass(frozen=True)
class Effort:
    """How much measuring a table is worth.

    Attributes:
        seconds: to aim at; a slow machine takes longer, for every subject is visited a few times.
        passes: over all parts, each with other neighbours; networks get one session more.
        calibration: random networks that the calibration is fitted to, besides the references.
        held_out: further random networks that only judge it.
        max_visits: of each subject in each pass.
    """

    seconds: float
    passes: int
    calibration: int
    held_out: int
    max_visits: int


QUICK = Effort(seconds=60, passes=1, calibration=20, held_out=16, max_visits=60)
FULL = Effort(seconds=280, passes=2, calibration=40, held_out=40, max_visits=120)


@dataclass(frozen=True)
class Plan:
    """What a table is measured from."""

    parts: list[Part]
    calibration: list[NetSpec]
    held_out: list[NetSpec]
    """Disjoint from those that calibrate."""


@dataclass(frozen=True)
class Measured:
    """Raw times of parts and of networks, in sessions that lie apart."""

    parts: list[Session]
    networks: list[Session]


def plan(space: MnasSpace, references: Sequence[NetSpec], effort: Effort) -> Plan:
    """Choose the parts and networks to measure; the same every time.

    Raises:
        UserError: when the space has too few networks to judge a table by.
    """
    known = list(dict.fromkeys(references))
    networks = _sample(space, set(known), effort.calibration + effort.held_out)
    if len(networks) < MIN_NETWORKS:
        raise UserError(
            f"the space has {len(networks)} networks besides the references, a latency table needs"
            f" {MIN_NETWORKS}: allow more choices, or count macs"
        )
    held_out = round(len(networks) * effort.held_out / (effort.calibration + effort.held_out))
    extra = [part for spec in known for part in parts(spec)]
    return Plan(
        parts=list(dict.fromkeys([*space_parts(space), *extra])),
        calibration=[*known, *networks[held_out:]],
        held_out=networks[:held_out],
    )


def _sample(space: MnasSpace, known: set[NetSpec], number: int) -> list[NetSpec]:
    """Up to ``number`` distinct random networks that are not ``known``."""
    rng, found = random.Random(0), dict[NetSpec, None]()
    for _ in range(20 * number):
        spec = space.spec(space.canonical(space.sample(rng)))
        if spec not in known and len(found) < number:
            found.setdefault(spec)
    return list(found)


def middle(space: MnasSpace) -> NetSpec:
    """The network of the middle choices: the reference that shows how fast the machine is."""
    return space.spec(space.decode([size // 2 for size in space.decision_sizes]))


def measure(bench: Bench, chosen: Plan, effort: Effort, progress: Progress) -> Measured:
    """Sessions of whole networks around the passes over the parts.

    Args:
        bench: where to measure.
        chosen: what to measure.
        effort: how long.
        progress: told of seconds that are over, ``effort.seconds`` in all.
    """
    network_seconds = effort.seconds * NETWORK_SHARE / (effort.passes + 1)
    part_seconds = effort.seconds * (1 - NETWORK_SHARE) / effort.passes

    whole, visits = [*chosen.calibration, *chosen.held_out], effort.max_visits

    def networks() -> Session:
        return bench.measure(whole, NETWORKS, network_seconds, visits, progress)

    found, whole_sessions = [], [networks()]
    for _ in range(effort.passes):
        found.append(bench.measure(chosen.parts, PARTS, part_seconds, visits, progress))
        whole_sessions.append(networks())
    return Measured(found, whole_sessions)


def network_times(sessions: Sequence[Session], specs: Sequence[NetSpec]) -> NDArray[np.float64]:
    """Latencies (sessions, networks) of later runs, in ms."""
    keys = [subject_key(spec) for spec in specs]
    return np.array([[times[key].later for key in keys] for times in estimate(sessions)])


def _design(entries: dict[str, Times], specs: Sequence[NetSpec]) -> NDArray[np.float64]:
    """For each network the sums of its parts' first and later times, and their number."""
    rows = []
    for spec in specs:
        times = [entries[part.key] for part in parts(spec)]
        rows.append([sum(t.first for t in times), sum(t.later for t in times), len(times)])
    return np.array(rows)


def calibrate(
    entries: dict[str, Times], specs: Sequence[NetSpec], ms: NDArray[np.float64]
) -> Calibration:
    """Least squares of the relative error; the two weights of times cannot be negative."""
    design = _design(entries, specs) / ms[:, None]
    bounds = ([0, 0, -np.inf], np.inf)
    return Calibration(*lsq_linear(design, np.ones(len(ms)), bounds).x.tolist())


def judge(predicted: NDArray[np.float64], ms: NDArray[np.float64]) -> HeldOut:
    """Compare predictions with measurements.

    Args:
        predicted: latencies (networks,) in ms of networks that did not calibrate the table.
        ms: their measured latencies (sessions, networks).
    """
    truth = np.exp(np.log(ms).mean(0))
    error = predicted / truth - 1
    # Kendall's tau of equal values is undefined: no order was predicted.
    tau = np.nan_to_num(kendalltau(predicted, truth).statistic)
    return HeldOut(
        networks=len(predicted),
        mape=float(np.abs(error).mean()),
        within_10=float((np.abs(error) <= 0.1).mean()),
        kendall_tau=float(tau),
        bias=float(error.mean()),
        noise=float(np.abs(ms[-1] / ms[0] - 1).mean()),
    )


def build(
    bench: Bench, chosen: Plan, effort: Effort, fingerprint: dict[str, Any], progress: Progress
) -> tuple[LatencyTable, list[Session]]:
    """Measure and fit.

    Returns:
        The table, and the raw times that it was made from.
    """
    measured = measure(bench, chosen, effort, progress)
    entries = mean_times(measured.parts)
    calibration_ms = network_times(measured.networks, chosen.calibration)
    fit = calibrate(entries, chosen.calibration, np.exp(np.log(calibration_ms).mean(0)))
    predicted = [
        sum(fit.share(*entries[part.key]) for part in parts(spec)) for spec in chosen.held_out
    ]
    held_out = judge(np.array(predicted), network_times(measured.networks, chosen.held_out))
    return LatencyTable(fingerprint, entries, fit, held_out), measured.parts + measured.networks
