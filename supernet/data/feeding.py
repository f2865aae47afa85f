"""Feeding: whether worker processes keep up with a training, and the shared memory they need."""

import itertools
import math
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from supernet.command.output import say
from supernet.data.images.image_index import num_cores
from supernet.errors import UserError

SHARED_MEMORY = Path("/dev/shm")
"""Where Linux has it."""
WAITING = 0.2
"""Share of its time that a training may wait for images."""
SECONDS, BATCHES, EXACT = 10.0, 30, 5
"""A window of measuring: at least so long and of so many batches; and batches of one in which each
step is waited for, as a GPU works on while its next batch is asked for."""


class Feeding:
    """Time that a training waits for its batches: one line where it waits too long.

    Args:
        images: of a batch of all processes.
        num_workers: worker processes of this one that read images.
    """

    def __init__(self, images: int, num_workers: int) -> None:
        self.images, self.num_workers = images, num_workers
        self._said = self._exact = False
        self._waited = self._used = 0.0
        self._batches = 0

    def timed(self, loader: Iterable[Any]) -> Iterator[Any]:
        """The batches of a loader, whose first ones in an epoch are not counted."""
        batches = iter(loader)
        handed: float | None = None
        for number in itertools.count():
            if self._exact and torch.cuda.is_initialized():
                torch.cuda.synchronize()
            asked = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            now = time.perf_counter()
            if handed is not None and number > 2 * self.num_workers:
                self._count(now - asked, asked - handed)
            handed = now
            yield batch

    def _count(self, waited: float, used: float) -> None:
        self._waited, self._used = self._waited + waited, self._used + used
        self._batches += 1
        seconds = self._waited + self._used
        whole = self._batches >= BATCHES and seconds >= SECONDS
        if not (whole or (self._exact and self._batches >= EXACT)):
            return
        slow = self._waited > WAITING * seconds
        if slow and self._exact and not self._said:
            self._said = True
            say(self._line(self.images * self._batches, seconds))
        self._exact = slow and not self._exact and not self._said
        self._waited = self._used = 0.0
        self._batches = 0

    def _line(self, images: int, seconds: float) -> str:
        """Images a second that are asked for and got, and what to do."""
        asked, got = images / max(self._used, 1e-9), images / seconds
        needed = math.ceil(round(max(self.num_workers, 1) * asked / got, 1))
        cores = num_cores()
        more = f"give --data.num_workers {min(needed, cores)}"
        if needed > cores or self.num_workers >= cores:
            more = f"its {cores} core(s) are too few: give it more, or smaller image files"
        reading = f"{self.num_workers} worker processes read" if self.num_workers else "it reads"
        return (
            f"note: the training could take {asked:,.0f} images/s, but {reading} {got:,.0f}: {more}"
            " (docs/performance.md)"
        )


def check_shared_memory(loader: DataLoader[Any], batch_bytes: int, processes: int) -> None:
    """Refuse to begin where the batches that workers read ahead do not fit into shared memory.

    Args:
        loader: of the training.
        batch_bytes: bytes of the tensors of a batch.
        processes: of this machine that read so.

    Raises:
        UserError: with what is needed; else a signal would kill a worker, hours later perhaps.
    """
    if not loader.num_workers or not SHARED_MEMORY.is_dir():
        return
    # One more than are read ahead: the one that is being used.
    ahead = loader.num_workers * (loader.prefetch_factor or 0) + 1
    need, free = processes * ahead * batch_bytes, shutil.disk_usage(SHARED_MEMORY).free
    if need > free:
        raise UserError(
            f"batches that worker processes read ahead ({processes} x {ahead} of"
            f" {_size(batch_bytes)}) take {_size(need)}, but {SHARED_MEMORY} has {_size(free)}"
            f" free: enlarge it (docker run --shm-size {math.ceil(need / 2**30) + 1}g), or lower"
            " num_workers or batch_size of the data"
        )


def num_bytes(batch: Any) -> int:
    """Bytes of the tensors of a batch, however nested."""
    if isinstance(batch, Tensor):
        return batch.nbytes
    if isinstance(batch, Mapping):
        return num_bytes([*batch.values()])
    return sum(map(num_bytes, batch)) if isinstance(batch, list | tuple) else 0


def _size(number: float) -> str:
    """Bytes for a person."""
    return f"{number / 2**30:,.1f} GiB" if number >= 2**30 else f"{number / 2**20:,.0f} MiB"
