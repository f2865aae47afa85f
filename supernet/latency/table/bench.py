"""How subjects are timed: round-robin, never in one block, with a reference in between.

A shared machine has quiet and loud times: for seconds or minutes a neighbour takes half of what a
core can do, and not the same half from every layer. So subjects are visited in turns, in a new
order each turn; every few visits the reference network runs, and only the rounds in which it was
about as fast as it ever is count. They are loaded in groups, for the memory does not hold all;
groups are random, lest alike ones share what disturbs them. Loading anew moves a network's data in
memory, which changes its time by some percent, so there are several sessions, of other groups.

Measured at 32 px on a shared machine of two cores (280 networks and 1,982 layers, 7 sessions): the
mean of half of the sessions differs from that of the other half by 2 * 0.9 % for networks and
2 * 0.7 % for layers; 2 * 1.1 % and 2 * 3.6 % when all rounds of a group count and are scaled by its
runs of the reference, 2 * 5 % and 2 * 4 % unscaled.
"""

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from supernet.latency.devices.device import Device
from supernet.latency.models.subject import Subject, subject_key
from supernet.latency.table.correction import Times
from supernet.latency.table.rounds import Round, Rounds

_Item = TypeVar("_Item")
_Runs = list[list[float]]

TIME_QUANTILE = 0.15
"""Quantile of the times of rounds that count: noise only adds time, but the least is an outlier."""
QUIET_QUANTILE = 0.1
"""Quantile of the reference's times that tells how fast it is on a quiet machine."""
QUIET_TOLERANCE = 0.15
"""Share by which the reference may be slower than that in a round that counts; loading it anew
alone changes its time by 3 %."""
SLOWNESS_EXPONENT = 0.6
"""Exponent of the reference's remaining slowness by which times are scaled; some is its own noise.
(Of 0, 0.3, 0.5, 0.6, 0.7, 0.8 and 1, those from 0.5 to 0.8 leave networks the least noise, at
32 px and at 224.)"""
MIN_ROUNDS = 3
"""Rounds of each group, however little time there is; a session of fewer quiet ones does not
count."""
PATIENCE = 3.0
"""Multiple of its limits for which a group may wait for as many quiet rounds."""


@dataclass(frozen=True)
class SubjectKind:
    """A kind of subjects: how they are visited; each has a quiet level of its own.

    What else is loaded and runs in between changes what the reference finds in the caches (by up
    to 16 % at 32 px between layers and networks).
    """

    name: str
    """The first word of the names of its groups in a file of rounds."""
    group_size: int
    """Subjects loaded at once: it bounds the memory."""
    chunk: int
    """Visits between two runs of the reference."""


LAYERS = SubjectKind("parts", group_size=256, chunk=32)
NETWORKS = SubjectKind("networks", group_size=16, chunk=8)


@dataclass(frozen=True)
class Group:
    """Raw times of subjects that were loaded together."""

    keys: tuple[str, ...]
    times: NDArray[np.float64]
    """(rounds, subjects, runs), ms."""
    reference: NDArray[np.float64]
    """(rounds, chunks, runs), ms."""

    def log_times(self, quiet_ms: float) -> tuple[NDArray[np.float64], bool]:
        """Logarithms (subjects, 2) of first and later times in ms, and whether it was quiet.

        ``quiet_ms`` is what the reference takes on a quiet machine.
        """
        counts = _is_quiet(self.reference, quiet_ms)
        quiet = bool(counts.sum() >= MIN_ROUNDS)
        times, reference = self.times, self.reference
        if quiet:
            times, reference = times[counts], reference[counts]
        first = np.quantile(times[..., 0], TIME_QUANTILE, axis=0)
        later = np.quantile(_later(times), TIME_QUANTILE, axis=(0, 2))
        slowness = np.log(np.quantile(_later(reference), TIME_QUANTILE) / quiet_ms)
        return np.log([first, later]).T - (SLOWNESS_EXPONENT if quiet else 1.0) * slowness, quiet


def _later(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """The runs after the first, if there are any."""
    return times[..., 1:] if times.shape[-1] > 1 else times


def _of_rounds(reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """The reference's time in each round; its median, for a single interruption is not loud."""
    return np.median(_later(reference), axis=(1, 2))


def _is_quiet(reference: NDArray[np.float64], quiet_ms: float) -> NDArray[np.bool_]:
    """Mask (rounds,) of those in which the reference (rounds, chunks, runs) was as fast as ever."""
    return _of_rounds(reference) <= quiet_ms * (1 + QUIET_TOLERANCE)


class Estimates:
    """The times of some subjects in several sessions, each the groups of all of them.

    ``reference_ms`` is what the reference takes on the quiet machine.
    """

    def __init__(self, sessions: Sequence[Sequence[Group]], reference_ms: float) -> None:
        keys = [key for group in sessions[0] for key in group.keys]
        self.places = {key: place for place, key in enumerate(keys)}
        self.logs = np.empty((len(sessions), len(keys), 2))
        quiet = np.empty((len(sessions), len(keys)), bool)
        for number, session in enumerate(sessions):
            for group in session:
                places = [self.places[key] for key in group.keys]
                self.logs[number, places], quiet[number, places] = group.log_times(reference_ms)
        # Loud sessions are better than a single quiet one, in which nothing shows its noise.
        enough = quiet.sum(0) >= min(2, len(sessions))
        self.logs[~quiet & enough] = np.nan

    def log_ms(self, subjects: Sequence[Subject]) -> NDArray[np.float64]:
        """Logarithms (sessions, subjects) of later times in ms; NaN where it was loud."""
        return self.logs[:, [self.places[subject_key(one)] for one in subjects], 1]

    def mean(self, subject: Subject) -> Times:
        """Geometric mean of a subject's times over all quiet sessions."""
        logs = self.logs[:, self.places[subject_key(subject)]]
        return Times(*np.exp(np.nanmean(logs, axis=0)).tolist())


@dataclass
class Bench:
    """A device, the reference network that runs on it in between, and what was measured."""

    device: Device
    reference: Subject
    rounds: Rounds = field(default_factory=Rounds)
    """Rounds that were measured before; they are not measured again."""
    progress: Callable[[float], object] | None = None
    """Listener that is told after each round how many more seconds were spent."""
    clock: Callable[[], float] = time.monotonic
    """Seconds."""

    def measure(
        self,
        kind: SubjectKind,
        number: int,
        subjects: Sequence[Subject],
        rounds: int,
        seconds: float = math.inf,
    ) -> list[Group]:
        """One session: visit all subjects in random groups, which follow from its number.

        Args:
            kind: of the subjects.
            number: of the session; each has other groups and another order.
            subjects: what to time.
            rounds: at most, however many seconds are left, but for waiting for quiet.
            seconds: to aim at; each group still gets ``MIN_ROUNDS``.
        """
        name = f"{kind.name} {number}"
        rng, spent = random.Random(name), 0.0
        measured: list[Group] = []
        groups = list(_groups(rng.sample(subjects, len(subjects)), kind.group_size))
        for place, group in enumerate(groups):
            share = (seconds - spent) / (len(groups) - place)
            found = self._group(f"{name}.{place}", kind, group, rounds, share)
            # Waiting for quiet is not charged to the groups that come after.
            spent += min(max(share, 0.0), sum(one.seconds for one in found))
            keys = tuple(map(subject_key, group))
            times, reference = (np.array([one[field] for one in found]) for field in (0, 1))
            measured.append(Group(keys, times, reference))
        return measured

    def _group(
        self,
        name: str,
        kind: SubjectKind,
        group: Sequence[Subject],
        most_rounds: int,
        seconds: float,
    ) -> list[Round]:
        """All rounds of one group, of which some may have been measured before."""
        known, keys = self.rounds.of(name), list(map(subject_key, group))
        rng, loading = random.Random(f"{name} {len(known)}"), -1.0
        while not (
            name in self.rounds.finished or self._is_over(kind, known, most_rounds, seconds)
        ):
            if loading < 0:
                start = self.clock()
                self.device.load([self.reference, *group])
                loading = self.clock() - start
            start = self.clock()
            times, reference = self._visit(rng, len(group), kind.chunk)
            one = Round(times, reference, self.clock() - start, loading)
            self.rounds.add(name, keys, one)
            if self.progress:
                self.progress(one.seconds + one.loading)
            loading = 0.0
        self.rounds.finish(name)
        return known

    def _is_over(
        self, kind: SubjectKind, rounds: Sequence[Round], most_rounds: int, seconds: float
    ) -> bool:
        spent = sum(one.seconds for one in rounds)

        def reached(times: float) -> bool:
            return len(rounds) >= times * most_rounds or spent >= times * seconds

        if len(rounds) < MIN_ROUNDS or not reached(1.0):
            return False
        reference = np.array([one.reference for one in rounds])
        quiet = _is_quiet(reference, self.quiet_ms(kind))
        return bool(quiet.sum() >= MIN_ROUNDS) or reached(PATIENCE)

    def estimates(self, kind: SubjectKind, sessions: Sequence[Sequence[Group]]) -> Estimates:
        """Times of the subjects of some sessions, by the quiet level of all rounds so far."""
        return Estimates(sessions, self.quiet_ms(kind))

    def quiet_ms(self, kind: SubjectKind) -> float:
        """What the reference takes on the quiet machine, by all rounds of a kind so far."""
        rounds = [
            _of_rounds(np.array([one.reference for one in group]))
            for name, group in self.rounds.groups.items()
            if group and name.split()[0] == kind.name
        ]
        return float(np.quantile(np.concatenate(rounds), QUIET_QUANTILE))

    def _visit(self, rng: random.Random, num_subjects: int, chunk: int) -> tuple[_Runs, _Runs]:
        """Visit every loaded subject once, in random order; number 0 is the reference."""
        order: list[int] = []
        for numbers in _groups(rng.sample(range(1, num_subjects + 1), num_subjects), chunk):
            order += [0, *numbers]
        answers = self.device.visit(order)
        runs = dict(zip(order, answers, strict=True))
        times = [runs[number] for number in range(1, num_subjects + 1)]
        reference = [answer for number, answer in zip(order, answers, strict=True) if not number]
        return times, reference


def _groups(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
