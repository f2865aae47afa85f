"""Tunings: networks trained for a few steps each, to learn from and to choose by."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search.evaluation.frozen_supernet import tune
from search.evaluation.int8_accuracy import int8_accuracy
from search.evaluation.jobs import CachedJobs, Key, Row, key_of, read_rows
from search.module import SearchModule
from search.monitoring.compute import FORWARD_PASSES, Spending
from supernet.data.splits import Batch
from supernet.errors import UserError
from supernet.network.network import Network, recalibrate
from supernet.run.distributed import gather_objects
from supernet.run.folder import CONTINUE
from supernet.training.standalone import evaluate

Code = tuple[int, ...]
"""Canonical indices of an architecture."""
KEPT_BYTES = 2**28
"""Batches that take less are read once for all tunings, of the same images each."""
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
        self.jobs = CachedJobs(
            "tuned networks",
            folder / f"tunings-rank{module.global_rank}.jsonl",
            CONDITIONS,
            self._identity,
            partial(map, self._tune),
            status=lambda row: f"loss {row['loss']:.3f}",
            shown=module.trainer.is_global_zero,
            strict=False,
        )
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
                self.spending.add(row["seconds"], row["cpu_seconds"])

    @cached_property
    def _conditions(self) -> Row:
        module = self.module
        images, label = module.final.recalibration_images, module.lengths.label
        return {"weights": fingerprint(module), "images": images, "label_steps": label}

    def _identity(self, job: tuple[Code, int, bool]) -> Row:
        code, steps, judged = job
        how = "int8" if judged and self.module.final.int8 else judged
        return {**self._conditions, "code": code, "steps": steps, "judged": how}

    def _tune(self, job: tuple[Code, int, bool]) -> Row:
        code, steps, judged = job
        wall, cpu = time.perf_counter(), time.process_time()
        network = self._network(code)
        module, batches = self.module, self._batches(steps)
        precision = partial(tuning_precision, module)
        course = tune(network, batches, module.weights, steps, False, precision, module.loss)
        half, label = steps // 2, module.lengths.label
        row = {
            **self._identity(job),
            "loss": float(course.losses[half:].mean()),
            "accuracy": float(course.accuracies[half:].mean()),
        }
        if not math.isfinite(row["loss"]):
            raise UserError(
                f"the loss of a network that was tuned for {steps} steps is {row['loss']}: mend the"
                f" images and go on with {CONTINUE}, or start anew with a lower model.weights.lr"
            )
        if 0 < label <= steps:
            row["label_accuracy"] = float(course.accuracies[label // 2 : label].mean())
        if judged:
            row["val_accuracy"] = self._validation_accuracy(network)
            if self.module.final.int8:
                row["int8_accuracy"] = int8_accuracy(network, self.module.data)
        seconds = time.perf_counter() - wall, time.process_time() - cpu
        return {**row, **dict(zip(("seconds", "cpu_seconds"), seconds, strict=True))}

    def _network(self, code: Code) -> Network:
        module = self.module
        arch = module.space.decode(code)
        if module.shared_steps:
            network = module.supernet.extract(arch)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(module.seed)
                network = Network(module.space.spec(arch))
        return network.to(module.device).to(memory_format=module.memory_format)

    def _batches(self, steps: int) -> Iterable[Batch]:
        if len(self._kept) < steps:
            fresh = self._fresh_batches()
            if steps * _bytes(self._kept[0]) > KEPT_BYTES:
                return fresh
            self._kept[:] = islice(fresh, steps)
        return self._kept

    def _fresh_batches(self) -> Iterator[Batch]:
        return map(self.module.moved, self.module.data.endless_weights_batches())

    @cached_property
    def _kept(self) -> list[Batch]:
        return [next(self._fresh_batches())]

    def _validation_accuracy(self, network: Network) -> float:
        module = self.module
        images = module.data.weights_batches(module.final.recalibration_images)
        with module.trainer.precision_plugin.forward_context():
            recalibrate(network, (module.moved(batch)[0] for batch in images))
            batches = map(module.moved, module.data.val_batches())
            return float(evaluate(network, batches).accuracy)


def tuning_precision(module: SearchModule) -> AbstractContextManager[object]:
    """The context of a tuning's forward pass."""
    # float16 would need its losses scaled.
    bf16, plugin = module.trainer.precision == "bf16-mixed", module.trainer.precision_plugin
    context: AbstractContextManager[object] = plugin.forward_context() if bf16 else nullcontext()
    return context


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


def _bytes(batch: Any) -> int:
    return sum(one.nbytes for one in batch if isinstance(one, Tensor))
