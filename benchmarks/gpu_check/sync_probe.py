"""SyncProbe: at which lines do the steps of a run wait for the GPU?"""

from __future__ import annotations

import contextlib
import statistics
import time
import traceback
import warnings
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

import pytorch_lightning as pl
import torch

from benchmarks.gpu_check.machine import GPU
from benchmarks.gpu_check.rows import Rows

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("supernet", "search", "retrain")
WAITS = "called a synchronizing"
"""What torch warns of; when it is told to, it also warns that it misses some."""
NUM_LINES = 12


class SyncProbe(pl.Callback):
    """Counts waits by line over some steps, and reports the speed and the memory of the run."""

    def __init__(self, name: str, first: int = 20, num_steps: int = 20) -> None:
        """``name`` is the run's in rows; counts from step ``first`` on, the run's first being 1."""
        self.name, self.first, self.num_steps = name, first, num_steps
        self.lines: Counter[str] = Counter()
        self.waits: list[int] = []
        """Of each counted step, in order."""
        self.times: list[float] = []
        """When steps began, s."""
        self.kinds: list[str] = []
        """What steps of a search were: warm-up or uniform; nothing in a retraining."""
        self.images = 0
        """Of a step."""
        self._watching: contextlib.ExitStack | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, *_: Any
    ) -> None:
        """Begin or end to count."""
        self.times.append(time.perf_counter())
        self.images = len(batch[1])
        self.kinds.append(_kind(pl_module))
        if len(self.times) == self.first:
            self._begin()
        elif len(self.times) == self.first + self.num_steps:
            self._end(self.num_steps)
        elif self._watching:
            self.waits.append(0)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report each kind of steps by its second half: kernels are chosen in the first."""
        self._end(len(self.times) - self.first + 1)
        rows = Rows(self.name)
        gaps = [after - before for before, after in pairwise(self.times)]
        for kind in dict.fromkeys(self.kinds[:-1]):
            own = [gap for gap, its in zip(gaps, self.kinds, strict=False) if its == kind]
            half = statistics.median(own[len(own) // 2 :])
            note = f"median of {len(own) - len(own) // 2} steps of {self.images} images"
            rows.add(f"{kind} steps per second".strip(), 1 / half, "1/s", note)
            rows.add(f"{kind} images per second".strip(), self.images / half, "1/s", note)
        if GPU:
            rows.add("peak memory", torch.cuda.max_memory_allocated() / 2**30, "GiB")

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave torch and warnings as they were."""
        self._stop()

    def _begin(self) -> None:
        self._watching = contextlib.ExitStack()
        self._watching.enter_context(warnings.catch_warnings())
        warnings.simplefilter("always")
        warnings.showwarning = self._count
        if GPU:
            torch.cuda.set_sync_debug_mode("warn")
            self._watching.callback(torch.cuda.set_sync_debug_mode, "default")
        self.waits.append(0)

    def _count(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if WAITS in str(message):
            self.lines[_place(filename, lineno)] += 1
            self.waits[-1] += 1

    def _stop(self) -> bool:
        watching, self._watching = self._watching, None
        if watching:
            watching.close()
        return watching is not None

    def _end(self, num_steps: int) -> None:
        if not self._stop():
            return
        rows = Rows("syncs")
        waits, counted = sum(self.lines.values()) / num_steps, f"{num_steps} steps"
        rows.add(f"{self.name}: waits for the GPU", waits, "a step", counted)
        # Most steps log nothing.
        usual = statistics.median(self.waits)
        rows.add(f"{self.name}: waits of a usual step", usual, "a step", f"median of {counted}")
        for place, number in self.lines.most_common(NUM_LINES):
            rows.add(f"{self.name}: {place}", number / num_steps, "a step")


def _kind(module: pl.LightningModule) -> str:
    """What the next step of a search is; nothing where a module plans none."""
    plan = getattr(module, "plan", None)
    return "" if plan is None else "warm-up" if plan().warmup else "uniform"


def _place(filename: str, lineno: int) -> str:
    """The project's innermost line, and where it is not that which waits, that one too."""
    waiting = "/".join(Path(filename).parts[-2:])
    for frame, line in traceback.walk_stack(None):
        path = Path(frame.f_code.co_filename).resolve()
        if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in PACKAGES:
            own = f"{path.relative_to(ROOT)}:{line}"
            return own if path == Path(filename).resolve() else f"{own} ({waiting}:{lineno})"
    return f"{waiting}:{lineno}"
