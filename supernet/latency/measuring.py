"""How subjects are timed: round-robin, never in one block, with a reference in between.

A machine's speed drifts: it warms up, and neighbours come and go. So subjects are loaded in random
groups and visited in turns, in a new order each turn; every few visits the reference network runs,
and a session's times are scaled by how fast the reference ran meanwhile. (Measured in
four builds on a busy machine: networks of two sessions differ by 3.6 % this way, by 4.0 % unscaled
and by 4.8 % when each group is scaled by its own few runs of the reference.)
"""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from supernet.latency.device import Device, Subject, subject_key

_Item = TypeVar("_Item")
_Runs = list[list[float]]

QUANTILE = 0.2
"""Of the times of all visits: noise only ever adds time. A lower one lets outliers in (measured:
the minimum of the first runs repeats within 18 %, this quantile within 1.4 %)."""
RUNS = 2
"""Runs in a row on each visit: the first finds the caches cold, the others warm."""
MIN_VISITS = 3


class Times(NamedTuple):
    """Milliseconds of one run."""

    first: float
    """With other networks' data in the caches."""
    later: float
    """Straight after a run of the same."""


@dataclass(frozen=True)
class Group:
    """Raw times of subjects that were loaded together."""

    keys: tuple[str, ...]
    times: NDArray[np.float64]
    """(visits, subjects, runs), ms."""
    reference: NDArray[np.float64]
    """(visits, chunks, runs), ms."""

    def estimates(self) -> Iterator[tuple[str, Times]]:
        """Each subject's times."""
        first = np.quantile(self.times[..., 0], QUANTILE, axis=0)
        later = np.quantile(self.times[..., 1:], QUANTILE, axis=(0, 2))
        yield from zip(self.keys, map(Times, first.tolist(), later.tolist()), strict=True)


@dataclass(frozen=True)
class Session:
    """All groups of one pass over the subjects."""

    groups: list[Group]

    @property
    def reference_ms(self) -> float:
        """How fast the reference ran meanwhile."""
        runs = [group.reference[..., 1:].ravel() for group in self.groups]
        return float(np.quantile(np.concatenate(runs), QUANTILE))

    def estimates(self, reference_ms: float) -> dict[str, Times]:
        """Each subject's times on a machine that runs the reference in ``reference_ms``."""
        scale = reference_ms / self.reference_ms
        return {
            key: Times(first * scale, later * scale)
            for group in self.groups
            for key, (first, later) in group.estimates()
        }


def estimate(sessions: Sequence[Session]) -> list[dict[str, Times]]:
    """Each session's times, scaled to the usual speed of the machine."""
    usual = float(np.median([session.reference_ms for session in sessions]))
    return [session.estimates(usual) for session in sessions]


def mean_times(sessions: Sequence[Session]) -> dict[str, Times]:
    """For each subject the geometric mean of its times in all sessions."""
    found = estimate(sessions)
    return {
        key: Times(*np.exp(np.mean([np.log(times[key]) for times in found], axis=0)).tolist())
        for key in found[0]
    }


def to_npz(sessions: Sequence[Session]) -> bytes:
    """The raw times as a NumPy archive: keys_0, times_0, reference_0, keys_1... by group."""
    arrays = {}
    for number, group in enumerate(group for session in sessions for group in session.groups):
        arrays[f"keys_{number}"] = np.array(group.keys)
        arrays[f"times_{number}"] = group.times.astype(np.float32)
        arrays[f"reference_{number}"] = group.reference.astype(np.float32)
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


@dataclass(frozen=True)
class Turns:
    """How subjects of one kind are visited."""

    group_size: int
    """Subjects loaded at once: it bounds the memory."""
    chunk: int
    """Visits between two runs of the reference."""


PARTS = Turns(group_size=256, chunk=32)
NETWORKS = Turns(group_size=16, chunk=8)

Progress = Callable[[float], None]
"""Told each time of how many more of the allotted seconds are over."""


@dataclass
class Bench:
    """A device, the reference network that runs on it in between, and what was measured."""

    device: Device
    reference: Subject
    rng: random.Random
    clock: Callable[[], float] = time.monotonic
    """Seconds."""

    def measure(
        self,
        subjects: Sequence[Subject],
        turns: Turns,
        seconds: float,
        max_visits: int,
        progress: Progress,
    ) -> Session:
        """Visit all subjects in random groups.

        Args:
            subjects: what to time.
            turns: how to visit them.
            seconds: to spend; each group still gets ``MIN_VISITS`` when they do not suffice.
            max_visits: of each subject, however many seconds are left.
            progress: told of seconds that are over, ``seconds`` in all.
        """
        start, told = self.clock(), 0.0
        measured: list[Group] = []
        groups = list(_groups(self.rng.sample(subjects, len(subjects)), turns.group_size))
        for number, group in enumerate(groups):
            now = self.clock()
            deadline = now + (start + seconds - now) / (len(groups) - number)
            self.device.load([self.reference, *group])
            visits: list[tuple[_Runs, _Runs]] = []
            while len(visits) < max_visits:
                if len(visits) >= MIN_VISITS and self.clock() >= deadline:
                    break
                visits.append(self._visit(len(group), turns.chunk))
                spent = min(seconds, self.clock() - start)
                progress(spent - told)
                told = spent
            times, reference = zip(*visits, strict=True)
            keys = tuple(map(subject_key, group))
            measured.append(Group(keys, np.array(times), np.array(reference)))
        progress(seconds - told)
        return Session(measured)

    def _visit(self, num_subjects: int, chunk: int) -> tuple[_Runs, _Runs]:
        """Visit every loaded subject once, in random order; number 0 is the reference."""
        order: list[int] = []
        for numbers in _groups(self.rng.sample(range(1, num_subjects + 1), num_subjects), chunk):
            order += [0, *numbers]
        answers = self.device.visit(order, RUNS)
        times: _Runs = [[] for _ in range(num_subjects)]
        reference: _Runs = []
        for number, runs in zip(order, answers, strict=True):
            if number:
                times[number - 1] = runs
            else:
                reference.append(runs)
        return times, reference


def _groups(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
