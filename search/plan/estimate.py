"""Estimates: what a search and a retraining take, and the lengths that a budget pays for. No torch.

Seconds of a step and of reading an image are measured (``search.plan.measure``); the others are
constants, measured on one core of a cloud CPU, and times ``Rates.busy`` where others use it too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from search.plan.rules import (
    LEAST_EPOCHS,
    LEAST_TUNING,
    MOST_EPOCHS,
    PROFILES,
    SEARCH_SHARE,
    Machine,
    Profile,
    epochs_of,
    most_tuning,
    num_workers,
    validation_interval,
)
from supernet.errors import UserError
from supernet.training.step_times import EPOCH_S, FORWARD, STEP_S, batch_seconds, duration

NETWORKS, FINALISTS = 60, 4
"""Networks that a search tunes for one target by default, and those of them that it judges."""
RECALIBRATION = 2048
"""Training images that give each finalist its batch statistics, if there are as many."""
KEPT_BYTES = 2**28
"""Batches that take less are read once for all tunings."""
TABLE_S = 50.0
"""Measuring this machine's latency table; it aims at a minute and is mostly done sooner."""
START_S, LEARN_S, SHIP_S = 10.0, 15.0, 20.0
"""Start of a command; fits, updates of the controller and figures of a search; a test and an
export."""
BUSY = 1.3
"""Times that a step takes longer than a processor worked for it, from which it is said."""


@dataclass(frozen=True)
class Images:
    """Images of a folder, and of what size they are."""

    num_weights: int
    """Images that a search trains on."""
    num_training: int
    """Those that a retraining has."""
    num_val: int
    num_test: int
    num_classes: int
    side: int
    """Middle shorter side, px."""
    sizes: str
    """Smallest and largest size, in words."""

    @property
    def number(self) -> int:
        """All of them."""
        return self.num_training + self.num_val + self.num_test


@dataclass(frozen=True)
class Rates:
    """What training takes here with images of one size, in seconds."""

    resolution: int
    """Side of the images, px."""
    step: float
    """Training step of a network like the one that is sought, on a batch that has been read."""
    build: float
    """Making such a network."""
    read: float
    """Reading a training image by one process."""
    read_augmented: float
    """The same with augmentation."""
    busy: float = 1.0
    """Seconds of a step over those that a processor worked for it: 1 where it is ours alone."""


@dataclass(frozen=True)
class RunLengths:
    """Lengths of a search and of a retraining."""

    tuning: int
    """Steps of each tuned network."""
    epochs: int
    """Epochs of the retraining."""

    @property
    def search_steps(self) -> int:
        """Steps of all tunings together, a search's ``trainer.max_steps``."""
        return NETWORKS * self.tuning


@dataclass(frozen=True)
class TimeEstimate:
    """Seconds of a search and of a retraining, as functions of their lengths."""

    images: Images
    machine: Machine
    batch: int
    """Images of a step."""
    rates: Rates
    measures_table: bool
    """Whether the search has to measure this machine."""

    def search_seconds(self, tuning: int) -> float:
        """A search whose tunings have so many steps."""
        reading = self._batch_seconds(self.rates.read) - self.rates.step
        bytes_kept = 4 * 3 * self.rates.resolution**2 * self.batch * tuning
        readings = 1 if bytes_kept <= KEPT_BYTES else NETWORKS
        judged = FINALISTS * (min(RECALIBRATION, self.images.num_weights) + self.images.num_val)
        return (
            self.rates.busy * (START_S + LEARN_S)
            + self.table_seconds
            + NETWORKS * (tuning * self.rates.step + self.rates.build)
            + readings * tuning * reading
            + judged * self._judging
        )

    @property
    def table_seconds(self) -> float:
        """Measuring this machine, if the search has to."""
        return self.rates.busy * TABLE_S * self.measures_table

    def retraining_seconds(self, epochs: int) -> float:
        """A retraining of so many epochs, a test and an export."""
        trained = self.steps_per_epoch * (self._batch_seconds(self.rates.read_augmented) + STEP_S)
        validations = epochs / validation_interval(epochs) if epochs else 0
        return (
            self.rates.busy * (START_S + SHIP_S)
            + epochs * (trained + EPOCH_S)
            + (validations * self.images.num_val + self.images.num_test) * self._judging
        )

    def seconds(self, lengths: RunLengths) -> float:
        """Both together."""
        return self.search_seconds(lengths.tuning) + self.retraining_seconds(lengths.epochs)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch of the retraining, whose last incomplete batch is left out."""
        return self.images.num_training // self.batch

    @property
    def _judging(self) -> float:
        """Seconds of an image that a network is judged on."""
        return FORWARD * self.rates.step / self.batch + self.rates.read / self.machine.cores

    def _batch_seconds(self, read: float) -> float:
        """Seconds of a step with reading."""
        readers, cores = num_workers(self.machine), self.machine.cores
        is_gpu = self.machine.kind == "gpu"
        return batch_seconds(self.rates.step, self.batch * read, readers, cores, is_gpu)

    def of_profile(self, profile: Profile) -> RunLengths:
        """Lengths of a profile, for as long as they take."""
        tuning = min(PROFILES[profile].tuning, self._most_tuning)
        return RunLengths(tuning, epochs_of(profile, self.images.num_training))

    def within(self, budget: float) -> RunLengths:
        """The greatest lengths that so many seconds pay for, a share of them for the search.

        Raises:
            UserError: when they do not pay for the least, saying what does.
        """
        free = budget - self.search_seconds(0) - self.retraining_seconds(0)
        for_search = self.search_seconds(0) + SEARCH_SHARE * free
        tuning = max(LEAST_TUNING, _greatest(self._most_tuning, self.search_seconds, for_search))
        rest = budget - self.search_seconds(tuning)
        epochs = _greatest(MOST_EPOCHS, self.retraining_seconds, rest)
        if epochs < LEAST_EPOCHS:
            least = self.seconds(RunLengths(LEAST_TUNING, LEAST_EPOCHS))
            other = ", where other programs run" if self.rates.busy >= BUSY else ""
            raise UserError(
                f"--budget is {duration(budget)}, but the shortest search and retraining of these"
                f" images at {self.rates.resolution} px take {duration(least)} here{other}: give"
                f" at least --budget {least // 60 + 1:.0f}m"
            )
        return RunLengths(tuning, epochs)

    @property
    def _most_tuning(self) -> int:
        return most_tuning(self.images.num_weights, self.batch)


def _greatest(most: int, seconds: Callable[[int], float], limit: float) -> int:
    """The greatest length up to ``most`` that takes no longer than ``limit`` seconds, or 0."""
    return bisect_right(range(1, most + 1), limit, key=seconds)
