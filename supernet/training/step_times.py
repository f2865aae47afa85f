"""Step times: what steps take here and now, what follows of a whole training, and its words.

No torch. What is not measured are constants of one core of a cloud CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean

FORWARD = 1 / 3
"""Share of a training step that is its forward pass."""
STEP_S, EPOCH_S = 0.01, 0.2
"""What a retraining's step and epoch take besides: progress, metrics, average of the weights."""
MEASURE_S = 1.0
"""Seconds after which no further step is timed."""
SHORTEST = 100
"""Steps below which a training is over before an estimate of it is of use."""

Step = Callable[[], object]


@dataclass(frozen=True)
class StepTime:
    """Seconds of steps of one kind."""

    first: float
    """Where a network is seen for the first time: kernels are made for shapes that are new."""
    later: float
    """On average."""
    busy: float
    """Seconds of a step over those that a processor worked for it: 1 where it is ours alone."""


def time_steps(steps: Iterable[Step], waits: bool = False) -> StepTime:
    """Times of steps, each done twice, until ``MEASURE_S`` are spent; at least one.

    ``waits`` says that an accelerator computes, for which the processor waits.
    """
    start, firsts, laters, worked = time.perf_counter(), list[float](), list[float](), 0.0
    for step in steps:
        firsts.append(_seconds(step))
        before = time.process_time()
        laters.append(_seconds(step))
        worked += time.process_time() - before
        if time.perf_counter() - start > MEASURE_S:
            break
    busy = 1.0 if waits or not worked else max(1.0, sum(laters) / worked)
    # Most shapes of a network have been seen before, once a search goes on.
    return StepTime(min(firsts), fmean(laters), busy)


def _seconds(step: Step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def batch_seconds(step: float, reading: float, readers: int, cores: int, waits: bool) -> float:
    """Seconds of a step with its reading, which ``readers`` processes do beside it.

    A CPU does both, while a GPU computes, for which ``waits``, as others read.
    """
    if not readers:
        return step + reading
    return max(step, reading / min(readers, cores)) if waits else step + reading / cores


def duration(seconds: float) -> str:
    """A time in words: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


@dataclass(frozen=True)
class TimeLeft:
    """What a run still has before it."""

    steps: int
    total: int
    """Steps of the whole run."""
    seconds: float | None
    """Estimated; None where it is too short for that."""

    def words(self, images: str) -> str:
        """One line; ``images`` says of what."""
        steps = f"{self.steps:,} of {self.total:,} steps left"
        if self.steps == self.total:
            steps = f"{self.total:,} steps"
        about = "" if self.seconds is None else f", about {duration(self.seconds)} here (estimate)"
        return f"{images}: {steps}{about}"
