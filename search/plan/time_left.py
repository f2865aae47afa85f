"""Time left: what a search that begins, or goes on, still has before it, by its own steps."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import repeat
from pathlib import Path

import torch

from search.evaluation.frozen_supernet import tune
from search.module import SearchModule
from search.plan.estimate import LEARN_S
from search.plan.planning import sampled
from search.settings import update_steps
from search.surrogate.batches import KEPT_BYTES
from search.surrogate.tuner import tuning_precision
from search.surrogate.tunings import fingerprint, kept_tunings, tuning_processes
from supernet.data.images.image_index import num_cores
from supernet.data.splits import Batch
from supernet.network.network import Network
from supernet.run.dry_pass import copied
from supernet.run.finite import scales_loss
from supernet.space.arch import Path as NetworkPath
from supernet.space.spec import NetSpec
from supernet.training.step_times import (
    FORWARD,
    SHORTEST,
    StepTime,
    TimeLeft,
    batch_seconds,
    time_steps,
)

PROGRESSES = (1 / 2, 1 / 6, 5 / 6)
"""Shares of the shared steps at which paths are timed, the middle one first."""
NETWORKS = 4
"""Networks near the targets whose tunings are timed, at most."""


@contextmanager
def weight_steps(search: SearchModule, batch: Batch) -> Iterator[Callable[[NetworkPath], object]]:
    """What makes a weight step of a path on a batch, over and over, on a copy of the supernet."""
    images, *known = batch
    with copied(search, "supernet"):
        parameters = search.supernet.parameters
        fused = not scales_loss(search.trainer)
        optimizer = search.weights.optimizer(search.supernet, len(images), fused)

        def step(path: NetworkPath) -> float:
            with search.trainer.precision_plugin.train_step_context():
                logits = search.supernet(images, path, 1.0)
                loss = search.loss(logits, *known).training
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters(), search.weights.max_grad_norm)
            optimizer.step()
            # Reading a weight waits for all that an accelerator has to do.
            return float(next(parameters()).detach().flatten()[0])

        yield step


class SearchTime:
    """What a search still has before it.

    Args:
        search: About to begin its weight steps or, where none is left, its tunings.
        folder: Of the run, where tunings are kept.
        learn: One update of a copy of the controller, without scoring.
    """

    def __init__(self, search: SearchModule, folder: Path, learn: Callable[[], object]) -> None:
        self.search, self.folder, self.learn = search, folder, learn
        self.waits = search.device.type != "cpu"

    def left(self) -> TimeLeft:
        """Steps that are left and, unless they are few, the time that they are estimated to take.

        Every rank must ask.
        """
        search = self.search
        ends = search.shared_steps if search.learns_from_tunings else search.total_steps
        weight_steps_left = max(0, ends - search.steps_done)
        steps = weight_steps_left + sum(self.tunings_left)
        seconds = self._seconds(weight_steps_left) if steps >= SHORTEST else None
        return TimeLeft(steps, ends + sum(self.tunings), seconds)

    def _seconds(self, weight_steps_left: int) -> float:
        search = self.search
        found = self.networks if search.learns_from_tunings else self.paths
        seconds = found.busy * LEARN_S
        if weight_steps_left:
            batches = weight_steps_left * search.accumulated
            seconds += batches * self._with_reading(self.paths.later)
        if search.learns_from_tunings:
            return seconds + self._tuning_seconds(self.tunings_left)
        return seconds + self._slices_seconds()

    # --- what is measured ---------------------------------------------------------------------

    @cached_property
    def _batch(self) -> tuple[Batch, float]:
        """A batch as training sees it, and the seconds that it took to read."""
        start = time.perf_counter()
        batch = self.search.data.first_weights_batch()
        return self.search.moved(batch), time.perf_counter() - start

    @cached_property
    def paths(self) -> StepTime:
        """Weight steps of paths as warm-up leaves them in the course of the shared steps."""
        search = self.search
        with weight_steps(search, self._batch[0]) as step:
            paths = [
                search.paths.uniform(number, search.schedule.warmup_probability(progress))[0]
                for number, progress in enumerate(PROGRESSES)
            ]
            return time_steps([partial(step, path) for path in paths], self.waits)

    @cached_property
    def networks(self) -> StepTime:
        """Steps of networks near the targets, of which the first one makes the network."""
        return time_steps([self._tuning_of(spec) for spec in near_targets(self.search)], self.waits)

    def _tuning_of(self, spec: NetSpec) -> Callable[[], object]:
        search, batch = self.search, self._batch[0]
        made: list[Network] = []

        def step() -> object:
            made[:] = made or [
                Network(spec).to(search.device).to(memory_format=search.memory_format)
            ]
            precision = partial(tuning_precision, search.trainer.precision_plugin)
            return tune(made[0], repeat(batch), search.weights, 1, False, precision, search.loss)

        return step

    def _slice_seconds(self) -> float:
        """Scoring one slice on a reward batch."""
        search, (images, labels, *_) = self.search, self._batch[0]
        archs = [search.space.sample(random.Random(number)) for number in range(NETWORKS)]
        steps = [partial(search.slice_scores, [arch], (images, labels)) for arch in archs]
        share = (search.sampling.images or len(labels)) / len(labels)
        return share * time_steps(steps, self.waits).later

    # --- what follows -------------------------------------------------------------------------

    def _with_reading(self, step: float) -> float:
        readers = self.search.data.num_readers
        return batch_seconds(step, self._batch[1], readers, num_cores(), self.waits)

    @property
    def tunings(self) -> list[int]:
        """Steps of each tuning; none where slices are scored."""
        search, lengths = self.search, self.search.lengths
        if not search.learns_from_tunings:
            return []
        finalists = [lengths.final] * (search.final.num * search.num_targets)
        return [lengths.label] * search.surrogate.networks + finalists

    @cached_property
    def tunings_left(self) -> list[int]:
        """Those of them that no earlier process of this run has made."""
        search, known = self.search, 0
        if search.steps_done >= search.shared_steps:
            name = fingerprint(search)
            kept = kept_tunings(self.folder).values()
            known = sum(row["weights"] == name for row in kept)
        return self.tunings[known:]

    def _tuning_seconds(self, tunings: Sequence[int]) -> float:
        search, (batch, reading) = self.search, self._batch
        if not tunings:
            return 0.0
        longest = max(tunings)
        kept = longest * sum(one.nbytes for one in batch) <= KEPT_BYTES
        each = self.networks.later if kept else self._with_reading(self.networks.later)
        steps = sum(tunings) - len(tunings)
        trained = len(tunings) * self.networks.first + steps * each
        finalists = min(len(tunings), search.final.num * search.num_targets)
        judged = finalists * self._judging(self.networks.later)
        beside = search.trainer.world_size * tuning_processes(search)
        return (trained + judged) / beside + kept * longest * reading

    def _judging(self, step: float) -> float:
        """Giving a network its batch statistics, and judging it on the validation images."""
        data = self.search.data
        images = self.search.final.recalibration_images + data.num_val
        return images / data.weights_batch_size * self._with_reading(FORWARD * step)

    def _slices_seconds(self) -> float:
        """Updates by slices that are left, and the last choice."""
        search, scoring, start = self.search, self._slice_seconds(), time.perf_counter()
        self.learn()
        update = time.perf_counter() - start + search.sampling.samples * scoring
        steps = update_steps(search.shared_steps, search.total_steps, search.sampling.every)
        updates = sum(step >= search.steps_done for step in steps)
        drafted = 2 * search.final.samples * search.num_targets * scoring
        tuning = search.lengths.final * self._with_reading(self.networks.later)
        judged = search.final.num * (
            self.networks.first + tuning + self._judging(self.networks.later)
        )
        return updates * update + (drafted + judged) / search.trainer.world_size


def near_targets(search: SearchModule) -> list[NetSpec]:
    """Uniform networks of the space, those that cost most nearly what a target allows first."""
    predict = search.objective.cost_model.predict
    limits = [target.cost for target in search.objective.targets]

    def distance(spec: NetSpec) -> float:
        return min(abs(predict(spec) / limit - 1) for limit in limits)

    return sorted(sampled(search.space), key=distance)[:NETWORKS]
