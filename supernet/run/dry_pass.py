"""DryPass: the pieces of a run once each, on copies, before anything long begins.

What no check of a setting foresees, such as memory, a program of the user's data or a full disk, is
found in seconds, and what the run will take is told. Nothing of it stays: neither weights nor
random states, nor a file.
"""

import copy
import time
import traceback
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.utilities.seed import isolate_rng
from torch import nn

from supernet.command.output import say
from supernet.data.resumable import StepLoader
from supernet.data.run_data import RunData
from supernet.data.splits import num_images
from supernet.errors import UserError, one_line
from supernet.run.distributed import least_over_ranks
from supernet.training.memory import StepMemory, free_bytes, largest_batch, size
from supernet.training.step_times import TimeLeft

PROJECT = Path(__file__).parents[2]
MEMORY = "lower data.init_args.batch_size, or give a device of more memory"
Piece = Callable[[], object]


class DryRunDoneError(Exception):
    """Ends a run that was only to be tried."""


class DryPass(pl.Callback):
    """Runs each piece once before training begins, and ends the run there if it ``is_all``.

    It comes before all callbacks that write.
    """

    def __init__(self, folder: Path) -> None:
        """``folder`` is the run folder."""
        self.path, self.is_all = folder / "checkpoints" / "dry-pass.ckpt", False

    @abstractmethod
    def pieces(self, trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, Piece]:
        """What the run does over and over, by name; on copies, which nobody else sees."""

    @abstractmethod
    def time_left(self, trainer: pl.Trainer, module: pl.LightningModule) -> TimeLeft:
        """What the run still has before it, by steps that are timed now, on copies."""

    @abstractmethod
    def memory(self, trainer: pl.Trainer, module: pl.LightningModule) -> StepMemory | None:
        """What a step takes, of its costliest network; None where that cannot be told."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Let the data find how many images a batch may have."""
        data = getattr(trainer, "datamodule", None)
        if stage == "fit" and isinstance(data, RunData):
            data.find_batch_size = partial(self._found_batch_size, trainer, pl_module)

    def _found_batch_size(self, trainer: pl.Trainer, module: pl.LightningModule) -> int:
        """The largest batch that fits, the least of all ranks."""
        with isolate_rng(), named("a search for the largest batch"):
            memory = self.memory(trainer, module)
        if memory is None:
            raise UserError("data.batch_size is auto, which this training cannot find: give one")
        data, free = data_of(trainer), free_memory(trainer)
        images = num_images(data.inner.train_dataloader().dataset)
        together = trainer.world_size * trainer.accumulate_grad_batches
        mine = largest_batch(memory, free, images, together)
        found = int(least_over_ranks(torch.tensor(mine, device=trainer.strategy.root_device)))
        fits = memory.largest(free)
        say(f"data.batch_size auto: {found} ({fits:,} fit into {size(free)} of free memory)")
        return found

    def _tell_memory(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Say what a step takes, and how many images would fit."""
        with named("an estimate of the memory"):
            memory = self.memory(trainer, module)
        loader: Any = trainer.train_dataloader
        if memory is not None and isinstance(loader, StepLoader):
            images, free = loader.sampler.batch_size, free_memory(trainer)
            features, weights = size(images * memory.each), size(memory.fixed)
            say(
                f"memory: {features} of features for {images} images a step, {weights} of weights;"
                f" {size(free)} are free, for up to {memory.largest(free):,} images"
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Run the pieces on all processes, and say how long the run will take.

        Raises:
            UserError: naming the piece that fails; or DryRunDoneError.
        """
        start = time.monotonic()
        pieces = self.pieces(trainer, pl_module) | {"one checkpoint": lambda: self._save(trainer)}
        with isolate_rng():
            for name, piece in pieces.items():
                with named(name):
                    piece()
            self._tell_memory(trainer, pl_module)
            with named("an estimate of the time"):
                left = self.time_left(trainer, pl_module)
        say(left.words(images_in_words(data_of(trainer))))
        if self.is_all:
            seconds = f"{time.monotonic() - start:.1f} s"
            say(f"dry run: {', '.join(pieces)} in {seconds}: the run can begin")
            trainer.strategy.barrier("dry run")
            raise DryRunDoneError

    def _save(self, trainer: pl.Trainer) -> None:
        try:
            trainer.save_checkpoint(self.path, weights_only=False)
        finally:
            _remove(self.path)


def data_of(trainer: pl.Trainer) -> RunData:
    """The images of a run, which a trainer's type does not tell of."""
    untyped: Any = trainer
    data: RunData = untyped.datamodule
    return data


def free_memory(trainer: pl.Trainer) -> int:
    """Bytes that are free for each process of a run on this machine."""
    return free_bytes(trainer.strategy.root_device, trainer.num_devices)


def images_in_words(data: RunData) -> str:
    """Number and size of the images that a run learns from and chooses by."""
    number = num_images(data.inner.train_dataloader().dataset) + data.num_val
    return f"{number:,} images of {data.num_classes} classes at {data.resolution} px"


@rank_zero_only
def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


@contextmanager
def named(piece: str) -> Iterator[None]:
    """Say which piece has failed, in one line with the place in the user's code or in ours.

    Raises:
        UserError: for whatever is raised within.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {one_line(error)[:200]}"
        mend = MEMORY if "out of memory" in what else "mend that, and try again with --dry_run"
        raise UserError(
            f"{piece} fails before anything is trained: {what} ({_place(error)}): {mend}"
        ) from error


def _place(error: Exception) -> str:
    """File and line of the innermost call that is not in an installed package."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if "site-packages" not in one.filename] or list(frames)
    path = Path(own[-1].filename)
    short = path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path
    return f"{short}, line {own[-1].lineno}"


@contextmanager
def copied(owner: nn.Module, *names: str) -> Iterator[None]:
    """Put copies into the place of modules that ``owner`` holds by these names, for a while."""
    originals = {name: getattr(owner, name) for name in names}
    try:
        for name, original in originals.items():
            setattr(owner, name, copy.deepcopy(original))
        yield
    finally:
        for name, original in originals.items():
            setattr(owner, name, original)
