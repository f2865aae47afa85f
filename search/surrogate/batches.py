"""Batches: images as training sees them, the same ones for every network that is tuned."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, Protocol

from torch import Tensor

from supernet.data.run_data import RunData
from supernet.data.splits import Batch

KEPT_BYTES = 2**28
"""Batches of tunings that take less are read once for all."""


class Batches(Protocol):
    """What networks are tuned and judged on, on their device."""

    def training(self, steps: int) -> Iterable[Batch]:
        """At least as many batches of training images, in one order."""

    def statistics(self, images: int) -> Iterable[Batch]:
        """The first batches of training images, in which there are as many, or all images."""

    def validation(self) -> Iterable[Batch]:
        """All validation images."""


class ReadBatches:
    """Batches that are read when they are asked for.

    Args:
        data: of the search.
        moved: brings a batch from host memory to the device.
    """

    def __init__(self, data: RunData, moved: Callable[[Batch], Batch]) -> None:
        self.data, self.moved = data, moved

    def training(self, steps: int) -> Iterable[Batch]:
        """Those of tunings are kept, if they take little."""
        if len(self._kept) < steps:
            fresh = map(self.moved, self.data.endless_weights_batches())
            if steps * _bytes(self._kept[0]) > KEPT_BYTES:
                return fresh
            self._kept[:] = islice(fresh, steps)
        return self._kept

    @cached_property
    def _kept(self) -> list[Batch]:
        return [self.moved(next(self.data.endless_weights_batches()))]

    def statistics(self, images: int) -> Iterable[Batch]:
        """Read anew each time."""
        return map(self.moved, self.data.weights_batches(images))

    def validation(self) -> Iterable[Batch]:
        """Read anew each time."""
        return map(self.moved, self.data.val_batches())

    def held(self, steps: int, images: int) -> "HeldBatches":
        """What tunings of so many steps need, with statistics of so many images, in memory."""
        return HeldBatches(
            self.data.weights_batch_size,
            list(islice(self.training(steps), steps)),
            list(self.statistics(images)),
            list(self.validation()),
        )


@dataclass(frozen=True)
class HeldBatches:
    """Batches in memory, which other processes can be given."""

    batch_size: int
    learned: list[Batch]
    measured: list[Batch]
    judged: list[Batch]

    def training(self, steps: int) -> Iterable[Batch]:
        """All of them."""
        return self.learned

    def statistics(self, images: int) -> Iterable[Batch]:
        """The first."""
        return self.measured[: math.ceil(images / self.batch_size)]

    def validation(self) -> Iterable[Batch]:
        """All of them."""
        return self.judged


def _bytes(batch: Any) -> int:
    return sum(one.nbytes for one in batch if isinstance(one, Tensor))
