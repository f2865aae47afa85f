"""Loaders whose every batch is a function of the seed and the step, so that a run can be resumed.

Lightning restores loops and weights, not the place in the data: a run that is resumed in the middle
of an epoch would see that epoch's first batches again. Here nothing is stored but the step.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from pytorch_lightning.overrides.distributed import UnrepeatedDistributedSampler
from pytorch_lightning.utilities.seed import isolate_rng
from torch.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
)

from supernet.command.stopping import outlive_step
from supernet.data.feeding import Feeding, check_shared_memory, num_bytes
from supernet.data.splits import labels_of, num_images, stratified_split
from supernet.errors import UserError

SeededIndex = tuple[int, int]
"""Index of a sample and the seed of its augmentation."""


@dataclass(frozen=True)
class Blocks:
    """Places of samples that are slow to reach one by one: some at a time are read to their end."""

    numbers: np.ndarray
    """Number of the block of each sample (N,), from 0."""
    at_once: int
    """Blocks whose samples are shuffled together."""

    def gathered(self, order: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A random order (N,), changed so that some random blocks come before all others."""
        turns = rng.permutation(int(self.numbers.max()) + 1) // self.at_once
        return order[np.argsort(turns[self.numbers[order]], kind="stable")]


@dataclass(eq=False)
class StepBatchSampler(Sampler[list[SeededIndex]]):
    """The batches of one rank, each a pure function of (seed, epoch, step, rank).

    Every epoch is a seeded permutation cut into global batches, which are dealt to the ranks; the
    images left over are dropped. A sample's seed depends on (seed, epoch, index) alone, so 2 ranks
    of 32 images see the same global batches as one of 64.

    Raises:
        UserError: if there are fewer samples than one global batch.
    """

    num_samples: int
    batch_size: int
    """Images per batch and rank."""
    seed: int
    """Not negative."""
    rank: int = 0
    world_size: int = 1
    start_step: int = 0
    """Batches that this rank has consumed; iterating yields the rest of that epoch."""
    limit: float = 1.0
    """Lightning's ``limit_train_batches``: batches per epoch (int) or share of them."""
    blocks: Blocks | None = None
    """Where the samples are, if that matters."""

    def __post_init__(self) -> None:
        self.global_batch_size = self.batch_size * self.world_size
        self.num_batches = self.num_samples // self.global_batch_size
        if self.num_batches == 0:
            raise UserError(
                f"{self.num_samples} images are fewer than one batch of {self.global_batch_size}"
                f" ({self.batch_size} x {self.world_size} processes): lower batch_size or add"
                " images"
            )

    def __len__(self) -> int:
        """Batches per epoch of one rank, within the limit."""
        if isinstance(self.limit, int):
            return min(self.num_batches, self.limit)
        return int(self.num_batches * self.limit)

    def __iter__(self) -> Iterator[list[SeededIndex]]:
        """The batches from ``start_step`` to the end of its epoch."""
        epoch, first = divmod(self.start_step, len(self))
        # Drawn anew from the start in each process: a generator that went on from one epoch to the
        # next would have a state to store, and ranks that could differ in it.
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(self.num_samples)
        seeds = rng.integers(2**32, size=self.num_samples)  # NumPy's global seed has 32 bits
        order = self.blocks.gathered(order, rng) if self.blocks else order
        for batch in range(first, len(self)):
            start = batch * self.global_batch_size
            # Dealt in turn: the ranks' batches together are that of one process, in any order.
            chosen = order[start : start + self.global_batch_size][self.rank :: self.world_size]
            yield list(zip(chosen.tolist(), seeds[chosen].tolist(), strict=True))


class SeededDataset(Dataset[Any]):
    """Samples that depend on their (index, seed) alone, not on workers or neighbours.

    The global generators of torch (on the CPU), NumPy and Python are seeded for each sample and
    restored after the batch. A data set that offers ``seeded_items(indices, seeds)`` builds its
    batches itself. Augmentation from other generators stays random.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return num_images(self.dataset)

    def __getitem__(self, pair: SeededIndex) -> Any:
        return self.__getitems__([pair])[0]

    def __getitems__(self, pairs: list[SeededIndex]) -> list[Any]:
        """A batch of samples."""
        seeded_items = getattr(self.dataset, "seeded_items", None)
        if seeded_items is not None:
            indices, seeds = zip(*pairs, strict=True)
            return list(seeded_items(list(indices), list(seeds)))
        with isolate_rng(include_cuda=False):
            return [self._seeded_item(*pair) for pair in pairs]

    def _seeded_item(self, index: int, seed: int) -> Any:
        seed_generators(seed)
        return self.dataset[index]


def batches_done(module: Any) -> int:
    """Training batches that each rank has consumed, which a search or a retraining counts.

    They are its ``steps_done``, unless it counts optimizer steps by that, and ``batches_done`` too.
    """
    return int(getattr(module, "batches_done", module.steps_done))


def seed_generators(seed: int) -> None:
    """Seed the global generators of torch (on the CPU), NumPy and Python, with 32 bits."""
    # torch.manual_seed would also reset the generators of all GPUs, for every sample.
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - user data sets draw from the global generator
    random.seed(seed)


class StepLoader:
    """Iterates the batches from the sampler's step to the end of the epoch, then the next epoch.

    It counts what was consumed, not what worker processes fetched ahead. It is no ``DataLoader``:
    under DDP Lightning would replace the sampler of one by its own.
    """

    def __init__(self, loader: DataLoader[Any], sampler: StepBatchSampler) -> None:
        self.loader = loader
        self.sampler = sampler
        self.feeding = Feeding(sampler.global_batch_size, loader.num_workers)

    def __len__(self) -> int:
        """Batches per epoch of one rank before the limit, which Lightning applies once more."""
        return self.sampler.num_batches

    def __iter__(self) -> Iterator[Any]:
        """The rest of the current epoch."""
        batches = self.feeding.timed(self.loader)
        for step, batch in enumerate(batches, start=self.sampler.start_step):
            # Set before the batch is given away: a reader that stops here has consumed it.
            self.sampler.start_step = step + 1
            yield batch

    def peek(self) -> Any:
        """The batch that comes next, read in this process; none is consumed."""
        dataset: Any = self.loader.dataset
        return self.loader.collate_fn(dataset.__getitems__(next(iter(self.sampler))))

    def check_shared_memory(self, processes: int) -> None:
        """Refuse to begin where so many processes of this machine read too much ahead.

        Raises:
            UserError: with what is needed.
        """
        if self.loader.num_workers:
            one = num_bytes(self.loader.dataset[0, 0])
            check_shared_memory(self.loader, one * self.sampler.batch_size, processes)

    def endless(self) -> Iterator[Any]:
        """The batches from the sampler's step on, epoch after epoch."""
        while True:
            yield from self

    def state_dict(self) -> dict[str, int]:
        """Facts that fix the order of the data; the step is the training module's to store."""
        sampler = self.sampler
        return {
            "number of images": sampler.num_samples,
            "batch size over all processes": sampler.global_batch_size,
            "seed": sampler.seed,
        }

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Compares the order of the data with that of the run that is resumed.

        Raises:
            UserError: if they differ, since the resumed run would repeat and skip images.
        """
        for name, now in self.state_dict().items():
            if state_dict[name] != now:
                raise UserError(
                    f"the run to resume had {name} {state_dict[name]}, now it is {now}: resume it"
                    " unchanged or start a new run"
                )


def unchanged(dataset: Dataset[Any]) -> Dataset[Any]:
    """The data set itself."""
    return dataset


def resumable(
    loader: DataLoader[Any],
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    start_step: int = 0,
    *,
    batch_size: int | None = None,
    limit: float = 1.0,
    view: Callable[[Dataset[Any]], Dataset[Any]] = unchanged,
) -> StepLoader:
    """A training loader rebuilt so that every batch is a function of (seed, step, rank).

    Its order is replaced by that of a ``StepBatchSampler``, of which the arguments are; its own
    ``batch_size`` and all else is kept. ``view`` makes another data set of its own, of as many.

    Raises:
        UserError: if the loader cannot be rebuilt or is smaller than one global batch.
    """
    own_size, dataset = _batch_size_of(loader), SeededDataset(view(loader.dataset))
    size, blocks = batch_size or own_size, getattr(loader.dataset, "blocks", None)
    place = (seed, rank, world_size, start_step, limit)
    sampler = StepBatchSampler(len(dataset), size, *place, blocks)
    return StepLoader(_rebuilt(loader, dataset, batch_sampler=sampler), sampler)


def sharded(
    loader: DataLoader[Any],
    rank: int,
    world_size: int,
    view: Callable[[Dataset[Any]], Dataset[Any]] = unchanged,
) -> DataLoader[Any]:
    """Every ``world_size``-th sample from ``rank`` on, in the data set's order, none twice.

    ``view`` makes another data set of the loader's own, of as many.

    Raises:
        UserError: if the loader cannot be rebuilt or has fewer samples than ranks, but for none.
    """
    batch_size, dataset = _batch_size_of(loader), view(loader.dataset)
    if 0 < num_images(dataset) < world_size:
        raise UserError(
            f"{num_images(dataset)} images to evaluate on are fewer than {world_size} processes,"
            " which need one each: add images or lower trainer.devices"
        )
    # Being a DistributedSampler, it is left in place by Lightning; torch's own would repeat images
    # until all ranks have as many, and an accuracy would count them twice.
    sampler = UnrepeatedDistributedSampler(dataset, world_size, rank, shuffle=False)
    return _rebuilt(loader, dataset, batch_size=batch_size, sampler=sampler)


def hold_out(
    loader: DataLoader[Any], share: float = 0.1, seed: int = 0
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Two training loaders made of one: for the weights and for the reward.

    Both keep the loader's augmentation. The split is seeded and stratified by ``targets`` or
    ``labels`` of the data set, or else by the labels that one pass over it finds; the reward gets
    ``share`` of each class.

    Raises:
        UserError: if the loader cannot be rebuilt, has no labels or too few images of a class.
    """
    batch_size, dataset = _batch_size_of(loader), loader.dataset
    splits = stratified_split(labels_of(dataset), {"reward": share}, seed)
    weights, reward = Subset(dataset, splits["weights"]), Subset(dataset, splits["reward"])
    return (
        _rebuilt(loader, weights, batch_size=batch_size, sampler=RandomSampler(weights)),
        _rebuilt(loader, reward, batch_size=batch_size, sampler=SequentialSampler(reward)),
    )


def _batch_size_of(loader: DataLoader[Any]) -> int:
    """The batch size of a loader that can be rebuilt with another order."""
    if not isinstance(loader, DataLoader):
        raise UserError(f"a datamodule must return one DataLoader, got {type(loader).__name__}")
    if isinstance(loader.dataset, IterableDataset):
        raise UserError(
            f"{type(loader.dataset).__name__} is an IterableDataset, whose order cannot be resumed:"
            " give a data set with __getitem__ and __len__"
        )
    known = (RandomSampler, SequentialSampler, DistributedSampler)
    if loader.batch_size is None or not isinstance(loader.sampler, known):
        raise UserError(
            "a DataLoader with its own sampler or batch_sampler cannot be resumed: give batch_size"
            " and shuffle instead"
        )
    return loader.batch_size


def _start_worker(user_init: Callable[[int], None] | None, number: int) -> None:
    """Begin the life of a loader's process: it must not die before the step that needs it."""
    outlive_step()
    if user_init:
        user_init(number)


def _rebuilt(loader: DataLoader[Any], dataset: Dataset[Any], **order: Any) -> DataLoader[Any]:
    """The loader with another data set and order: batch_sampler, or batch_size and sampler."""
    return DataLoader(
        dataset,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=partial(_start_worker, loader.worker_init_fn),
        multiprocessing_context=loader.multiprocessing_context,
        # Starting a loader draws a number; from torch's global generator, that would change what
        # the model draws after a resume.
        generator=torch.Generator(),
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
        **order,
    )
