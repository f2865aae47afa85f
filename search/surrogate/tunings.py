"""Tunings: networks trained for a few steps each, to learn from and to choose by."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from search.evaluation.int8_accuracy import calibration_images
from search.evaluation.jobs import CachedJobs, Key, Row, key_of, read_rows
from search.evaluation.workers import Workers
from search.module import SearchModule
from search.monitoring.compute import FORWARD_PASSES, Spending
from search.surrogate.batches import KEPT_BYTES, ReadBatches
from search.surrogate.tuner import Tuner
from supernet.command.output import say
from supernet.errors import UserError
from supernet.run.distributed import gather_objects

Code = tuple[int, ...]
"""Canonical indices of an architecture."""
Job = tuple[Code, int, bool]
"""What to tune, for how many steps, and whether to judge it."""
CONDITIONS = ("weights", "images", "label_steps", "code", "steps", "judged")


@dataclass(frozen=True)
class Tuning:
    """What a network showed in a short training of its own.

    All networks see the same batches, so that their luck cancels. Losses are of batches that a
    network has not been trained on, each before its step.
    """

    code: Code
    steps: int
    loss: float
    """Mean over the second half of the steps, in nats: cross-entropy, unless a teacher judges."""
    accuracy: float
    """Share of right answers in these steps."""
    val_accuracy: float = math.nan
    """On the whole validation split, batch norms recalibrated; NaN where it was not asked for."""
    label_accuracy: float = math.nan
    """The accuracy when it had been tuned for as long as a network to learn from; NaN where it was
    tuned for less."""
    int8_accuracy: float | None = None
    """Like ``val_accuracy``, after quantization to int8; None where it was not asked for."""


def kept_tunings(folder: Path) -> dict[Key, Row]:
    """Tunings that a run folder keeps, of all ranks."""
    paths = sorted(folder.glob("tunings-rank*.jsonl"))
    return {
        key: row for path in paths for key, row in read_rows(path, CONDITIONS, strict=False).items()
    }


class Tunings:
    """Tunings of a search, shared among ranks and kept in its run folder.

    Networks begin with slices of the shared weights, or afresh where no weights are shared. What
    has been tuned with the same weights and settings is not tuned again, whatever ended the search.

    Args:
        module: The search, after its last weight step.
        folder: Of the run.
        spending: Is told what tunings cost.
        earlier: Folder of another run, whose tunings are known and paid for.
    """

    def __init__(
        self, module: SearchModule, folder: Path, spending: Spending, earlier: Path | None = None
    ) -> None:
        self.module, self.folder, self.spending = module, folder, spending
        self.processes = tuning_processes(module)
        self.jobs = CachedJobs(
            "tuned networks",
            folder / f"tunings-rank{module.global_rank}.jsonl",
            CONDITIONS,
            self._identity,
            self._tune,
            status=lambda row: f"loss {row['loss']:.3f}",
            shown=module.trainer.is_global_zero,
            strict=False,
        )
        self._kept: Callable[[Iterable[Row]], Iterator[Row]] | None = None
        paid = kept_tunings(earlier) if earlier else {}
        self.counted = set(paid) - set(self.jobs.known)
        self.jobs.known |= {key: paid[key] for key in self.counted}

    def of(self, codes: Sequence[Code], steps: int, judged: bool = False) -> list[Tuning]:
        """Tunings of networks, in their order, on every rank.

        Args:
            codes: of the networks.
            steps: to train each for.
            judged: whether each is evaluated on the validation split afterwards.

        Raises:
            UserError: when a loss is not finite.
        """
        rank, world = self.module.global_rank, self.module.trainer.world_size
        mine = [
            (code, steps, judged or self._was_judged(code, steps)) for code in codes[rank::world]
        ]
        known = set(self.jobs.known)
        rows = gather_objects(self.jobs.rows(mine))
        self._count(rows, known)
        by_code = {one.code: one for one in map(_tuning, rows)}
        return [by_code[code] for code in codes]

    def _was_judged(self, code: Code, steps: int) -> bool:
        """Whether all that such a tuning shows is known, but only from one that was judged."""
        plain, judged = (self.jobs.knows((code, steps, one)) for one in (False, True))
        return judged and not plain

    def _count(self, rows: Sequence[Row], known: set[Key]) -> None:
        """Tell what each tuning has cost, once; also those of a process that was killed.

        Images count on all ranks, time on this one.
        """
        space, data = self.module.space, self.module.data
        for row in rows:
            key = key_of(row, CONDITIONS)
            if key in self.counted:
                continue
            self.counted.add(key)
            images = FORWARD_PASSES * row["steps"] * data.weights_batch_size
            images += bool(row["judged"]) * (self.module.final.recalibration_images + data.num_val)
            self.spending.score(space, [space.decode(row["code"])], images)
            if key in known:
                self.spending.add(row["seconds"] / self.processes, row["cpu_seconds"])
            elif self.processes > 1:
                self.spending.add(0.0, row["cpu_seconds"])

    @cached_property
    def _conditions(self) -> Row:
        module = self.module
        images, label = module.final.recalibration_images, module.lengths.label
        return {"weights": fingerprint(module), "images": images, "label_steps": label}

    def _identity(self, job: Job) -> Row:
        code, steps, judged = job
        how = "int8" if judged and self.module.final.int8 else judged
        return {**self._conditions, "code": code, "steps": steps, "judged": how}

    def _tune(self, jobs: Sequence[Job]) -> Iterator[Row]:
        do = self._kept or self._workers
        return do([self._identity(job) for job in jobs])

    @contextmanager
    def together(self) -> Iterator[None]:
        """All that is tuned in this context by the same processes, which learn shapes by and by."""
        with self._workers.kept() as self._kept:
            yield
        self._kept = None

    @cached_property
    def _workers(self) -> Workers[Row, Row]:
        return Workers(self._tuner().ready, self.processes)

    def _tuner(self) -> Tuner:
        module, batches = self.module, ReadBatches(self.module.data, self.module.moved)
        held = max(module.lengths), _images_of_statistics(module)
        return Tuner(
            module.space,
            module.supernet if module.shared_steps else None,
            module.seed,
            module.weights,
            module.loss,
            module.trainer.precision_plugin,
            module.device,
            module.memory_format,
            batches if self.processes == 1 else batches.held(*held),
        )


def tuning_processes(module: SearchModule) -> int:
    """Networks that this rank tunes at a time."""
    trainer = module.trainer
    alone = trainer.world_size == 1 and trainer.strategy.root_device.type == "cpu"
    return module.surrogate.processes if alone else 1


def check_processes(module: SearchModule) -> None:
    """Refuse processes that would hold too many images, and say where there will be one alone.

    Raises:
        UserError: naming what they would hold, and the limit.
    """
    asked, data = module.surrogate.processes, module.data
    if tuning_processes(module) < asked:
        if module.trainer.is_global_zero:
            say(
                f"note: model.surrogate.processes is {asked}, but networks are tuned beside each"
                " other only where a search has one device, a CPU: here each device tunes its"
                " share, one at a time"
            )
        return
    judging = _images_of_statistics(module) + data.num_val
    images = max(module.lengths) * data.weights_batch_size + judging
    held = images * 3 * data.resolution**2 * torch.float32.itemsize
    if asked > 1 and held > KEPT_BYTES:
        raise UserError(
            f"model.surrogate.processes is {asked}, and each would hold {images:,} images of"
            f" {data.resolution} px, {held >> 20:,} MiB, more than {KEPT_BYTES >> 20}: give 1"
        )


def _images_of_statistics(module: SearchModule) -> int:
    """Training images that finalists need beside those that they are tuned on."""
    images = module.final.recalibration_images
    return max(images, calibration_images()) if module.final.int8 else images


def fingerprint(module: SearchModule) -> str:
    """A short name of the shared weights, and of how networks that begin with them are tuned."""
    how = (module.weights, module.data.weights_batch_size, module.trainer.precision)
    taught = (module.loss.taught_by, module.loss.distillation) if module.loss.source else ()
    digest = hashlib.sha256(repr((*how, module.seed, *taught)).encode())
    if module.shared_steps:
        for tensor in module.supernet.state_dict().values():
            digest.update(tensor.cpu().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _tuning(row: Row) -> Tuning:
    val, label = (row.get(name, math.nan) for name in ("val_accuracy", "label_accuracy"))
    shown = row["steps"], row["loss"], row["accuracy"], val, label
    return Tuning(tuple(row["code"]), *shown, row.get("int8_accuracy"))
