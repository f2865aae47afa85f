"""Plan: which parts and networks a table is measured from, and how much work it is worth."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice

from supernet.cost.timed_layers import TimedLayer, timed_layers_of_space
from supernet.errors import UserError
from supernet.latency.models.subject import subject_key
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec

MIN_NETWORKS = 8
GIVE_UP = 1000
"""Draws in a row without a new network, after which a space has no more."""


@dataclass(frozen=True)
class Effort:
    """How much measuring a table is worth.

    Attributes:
        seconds: to aim at; a slow device takes longer, for every subject is visited a few times.
        part_sessions: over all parts, each with other neighbours.
        network_sessions: over all networks; at least as many.
        calibration: random networks that the correction is fitted to.
        held_out: further random networks that only judge it.
        rounds: over the subjects of each session, at most.
    """

    seconds: float
    part_sessions: int
    network_sessions: int
    calibration: int
    held_out: int
    rounds: int

    network_share = 0.5
    """Of the time; the rest goes to the parts."""

    @property
    def network_seconds(self) -> float:
        """For one session over the networks."""
        return self.seconds * self.network_share / self.network_sessions

    @property
    def part_seconds(self) -> float:
        """For one session over the parts."""
        return self.seconds * (1 - self.network_share) / self.part_sessions


QUICK = Effort(60, part_sessions=2, network_sessions=4, calibration=20, held_out=16, rounds=60)
FULL = Effort(900, part_sessions=4, network_sessions=6, calibration=80, held_out=60, rounds=120)
EFFORTS = {"quick": QUICK, "full": FULL}


@dataclass(frozen=True)
class Plan:
    """What a table is measured from."""

    parts: list[TimedLayer]
    calibration: list[NetSpec]
    held_out: list[NetSpec]
    """Disjoint from those that calibrate."""
    references: list[NetSpec]
    """Networks of other spaces: measured as they are."""

    @property
    def networks(self) -> list[NetSpec]:
        """All of them."""
        return [*self.calibration, *self.held_out, *self.references]

    @property
    def digest(self) -> str:
        """SHA-256 of all subjects."""
        subjects = [*self.parts, *self.networks]
        return hashlib.sha256("\n".join(map(subject_key, subjects)).encode()).hexdigest()


def plan_measurements(space: MnasSpace, references: Sequence[NetSpec], effort: Effort) -> Plan:
    """Choose the parts and networks to measure; the same every time.

    Raises:
        UserError: when the space has too few networks to judge a table by.
    """
    known = list(dict.fromkeys(references))
    networks = random_networks(space, known, effort.calibration + effort.held_out, seed=0)
    if len(networks) < MIN_NETWORKS:
        raise UserError(
            f"the space has {len(networks)} networks besides the references, a latency table needs"
            f" {MIN_NETWORKS}: allow more choices, or count macs"
        )
    held_out = round(len(networks) * effort.held_out / (effort.calibration + effort.held_out))
    return Plan(
        parts=timed_layers_of_space(space),
        calibration=networks[held_out:],
        held_out=networks[:held_out],
        references=known,
    )


def random_networks(
    space: MnasSpace, known: Collection[NetSpec], number: int, seed: int
) -> list[NetSpec]:
    """Up to ``number`` distinct random networks that are not ``known``."""
    found = space.distinct(space.samples(seed), known, patience=GIVE_UP)
    return [spec for _, spec in islice(found, number)]


def middle_network(space: MnasSpace) -> NetSpec:
    """The network of the middle choices: the reference that shows how fast the machine is."""
    return space.spec(space.decode([size // 2 for size in space.decision_sizes]))
