"""Plan: which layers and networks a table is measured from, and how much work it is worth."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from supernet.cost.timed_layers import TimedLayer, timed_layers_of_space
from supernet.errors import UserError
from supernet.latency.models.subject import Subject, subject_key
from supernet.latency.table.bench import LAYERS, NETWORKS, SubjectKind
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec

MIN_NETWORKS = 8
GIVE_UP = 1000
"""Draws in a row without a new network, after which a space has no more."""


@dataclass(frozen=True)
class Effort:
    """How much measuring a table is worth."""

    seconds: float
    """Seconds to aim at; a slow device takes longer, for every subject is visited a few times."""
    part_sessions: int
    """Sessions over all layers, each with other neighbours."""
    network_sessions: int
    """Sessions over all networks; at least as many."""
    calibration: int
    """Random networks that the correction is fitted to."""
    held_out: int
    """Further random networks that only judge it."""
    rounds: int
    """Rounds over the subjects of each session, at most."""


QUICK = Effort(60, part_sessions=2, network_sessions=4, calibration=20, held_out=16, rounds=60)
FULL = Effort(900, part_sessions=4, network_sessions=6, calibration=80, held_out=60, rounds=120)
EFFORTS = {"quick": QUICK, "full": FULL}


class Sessions(NamedTuple):
    """What is measured of one kind of subjects."""

    kind: SubjectKind
    subjects: Sequence[Subject]
    number: int
    """Number of sessions; each goes over all subjects."""
    seconds: float
    """Seconds to aim at in one session."""


@dataclass(frozen=True)
class Plan:
    """What a table is measured from."""

    space: MnasSpace
    effort: Effort
    layers: list[TimedLayer]
    calibration: list[NetSpec]
    held_out: list[NetSpec]
    """Disjoint from those that calibrate."""
    references: list[NetSpec]
    """Networks of other spaces: measured as they are."""

    @property
    def networks(self) -> list[NetSpec]:
        """All networks that are measured whole."""
        return [*self.calibration, *self.held_out, *self.references]

    @property
    def sessions(self) -> tuple[Sessions, Sessions]:
        """Sessions over the networks and over the layers: each kind gets half of the time."""
        whole, alone = self.effort.network_sessions, self.effort.part_sessions
        half = self.effort.seconds / 2
        return (
            Sessions(NETWORKS, self.networks, whole, half / whole),
            Sessions(LAYERS, self.layers, alone, half / alone),
        )

    @property
    def digest(self) -> str:
        """SHA-256 of all subjects."""
        subjects = [*self.layers, *self.networks]
        return hashlib.sha256("\n".join(map(subject_key, subjects)).encode()).hexdigest()


def plan_measurements(space: MnasSpace, references: Sequence[NetSpec], effort: Effort) -> Plan:
    """Choose the layers and networks to measure; the same every time.

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
    calibration, layers = networks[held_out:], timed_layers_of_space(space)
    return Plan(space, effort, layers, calibration, networks[:held_out], known)


def random_networks(
    space: MnasSpace, known: Collection[NetSpec], number: int, seed: int
) -> list[NetSpec]:
    """Up to ``number`` distinct random networks that are not ``known``."""
    found = space.distinct(space.samples(seed), known, patience=GIVE_UP)
    return [spec for _, spec in islice(found, number)]


def middle_network(space: MnasSpace) -> NetSpec:
    """The network of the middle choices: the reference that shows how fast the machine is."""
    return space.spec(space.decode([size // 2 for size in space.decision_sizes]))
