"""RunData: how a search or a retraining reads a user's datamodule."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch.utils.data import DataLoader, Dataset

from supernet.command.output import say
from supernet.data.datamodule import (
    DescribedData,
    check_all_labels,
    check_loaders,
    data_line,
    image_shape,
    own_description,
    plain_images,
    split_sizes,
)
from supernet.data.feeding import Feeding
from supernet.data.pixels import in_pixels, normalised_batch
from supernet.data.resumable import (
    StepLoader,
    batches_done,
    hold_out,
    resumable,
    sharded,
    unchanged,
)
from supernet.data.splits import known_labels, labels_of, num_images
from supernet.data_description import Preprocessing
from supernet.errors import UserError

Role = Literal["search", "retrain"]
View = Callable[[Dataset[Any]], Dataset[Any]]


class RunData(DescribedData):
    """A datamodule as a run reads it: resumable, sharded, and in a search without the test split.

    In a search, training images come from ``weights_dataloader()`` and candidates are scored on
    ``reward_dataloader()``; a datamodule without this pair has ``reward_share`` of its training
    images held out. The LightningModule tells its place in the data by an int ``steps_done``: the
    training batches that each rank has consumed. It must be restored with the checkpoint.

    Args:
        inner: gives ``num_classes``, ``resolution`` (px), optionally ``stem_stride``, and loaders
            of (images, labels).
        role: a search, or a retraining on all training images.
        seed: of the order, the augmentation and the held-out images; not negative.
        reward_batch_size: images per reward batch and rank; the reward loader's by default.
        reward_share: of each class that is held out.

    Raises:
        UserError: if ``inner`` lacks something, which the line names.
    """

    def __init__(
        self,
        inner: pl.LightningDataModule,
        role: Role,
        seed: int,
        reward_batch_size: int | None = None,
        reward_share: float = 0.1,
    ) -> None:
        super().__init__()
        check_loaders(inner, tests=role == "retrain")
        self.inner, self.role, self.seed = inner, role, seed
        self.reward_batch_size, self.reward_share = reward_batch_size, reward_share
        self.num_classes, self.resolution, self.stem_stride = image_shape(inner)
        own_description(inner, self.num_classes)  # refused before anything long
        self.prepare_data_per_node = inner.prepare_data_per_node
        self.training_view: View = unchanged
        """What a training makes of the data set of its images, such as augmented ones."""
        self.find_batch_size: Callable[[], int] | None = None
        """Finds what fits, where the datamodule ``finds_batch_size``."""
        self.found_batch_size: int | None = None
        self._resumed_order: dict[str, int] | None = None
        self._train_loader: StepLoader | None = None
        self._feeding: Feeding | None = None
        self._rewards: Iterator[Any] = iter(())
        self._next_reward: tuple[int, int] | None = None
        # Lightning ignores the LightningModule's own hooks where the datamodule has them.
        for hook in ("on_before_batch_transfer", "transfer_batch_to_device"):
            if is_overridden(hook, inner):
                setattr(self, hook, getattr(inner, hook))

    def prepare_data(self) -> None:
        """Lets the datamodule download; called on one process only."""
        self.inner.trainer = self.trainer
        self.inner.prepare_data()

    def setup(self, stage: str) -> None:
        """Sets the datamodule up, on every process, and before a training takes its records."""
        self.inner.trainer = self.trainer
        self.inner.setup(stage)
        if stage == "fit" or (stage == "test" and self.role == "retrain"):
            check_all_labels(self.inner, self.num_classes, stage)
        if stage == "fit":
            self._check_numbers()
            self._take_records()
        if stage in {"fit", "validate"} or (stage == "test" and self.role == "retrain"):
            say(self.first_line(stage))
        if stage == "fit" and self.records is None:
            say(
                f"note: {type(self.inner).__name__} does not tell its images by their content, so"
                " that a test on images that were trained on goes unnoticed: give it"
                " image_records() as docs/data.md says"
            )

    def _check_numbers(self) -> None:
        """Refuse too few images for this many processes before anything long begins.

        Raises:
            UserError: with how many there are, and how many are needed.
        """
        trainer: Any = self.trainer
        place = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        if not getattr(self.inner, "finds_batch_size", False):
            resumable(self._learned_from, self.seed, *place)
        if self.role == "search" and not self.num_val:
            raise UserError("there are no validation images to choose networks by: add some")
        if self.role == "retrain" and trainer and trainer.limit_val_batches:
            self.val_dataloader()

    def _take_records(self) -> None:
        """Read the images' content before anything long begins, on rank 0 first."""
        trainer, first = self.trainer, "other ranks find in the cache what rank 0 has read"
        if trainer and not trainer.is_global_zero:
            trainer.strategy.barrier(first)
        _ = self.records
        if trainer and trainer.is_global_zero:
            trainer.strategy.barrier(first)

    def teardown(self, stage: str) -> None:
        """Ends the reward loader's worker processes and tears the datamodule down."""
        self._rewards, self._next_reward = iter(()), None
        self.inner.teardown(stage)

    def on_exception(self, exception: BaseException) -> None:
        """Tells the datamodule."""
        self.inner.on_exception(exception)

    def state_dict(self) -> dict[str, Any]:
        """The datamodule's state, and what fixes the order of the data."""
        order = self._train_loader.state_dict() if self._train_loader else self._resumed_order
        return {"inner": self.inner.state_dict(), "order": order}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the order for a comparison: Lightning restores this before it asks for loaders."""
        self.inner.load_state_dict(state_dict["inner"])
        self._resumed_order = state_dict["order"]

    def train_dataloader(self) -> StepLoader:
        """Training images from step ``steps_done`` on: the weights split in a search, else all.

        Raises:
            UserError: if the loader cannot be resumed, or not in the order of the checkpoint, or
                reads more ahead than shared memory holds.
        """
        trainer: Any = self.trainer
        self._settle_batch_size()
        if trainer is None:
            raise RuntimeError("train_dataloader() needs a Trainer: its module knows the step")
        if trainer.overfit_batches:
            raise UserError(
                "overfit_batches cannot be used, as every epoch is shuffled anew: use"
                " limit_train_batches"
            )
        self._train_loader = resumable(
            self._learned_from,
            self.seed,
            trainer.global_rank,
            trainer.world_size,
            batches_done(trainer.lightning_module),
            limit=trainer.limit_train_batches,
            view=self._training_view,
        )
        if self._resumed_order is not None:
            self._train_loader.load_state_dict(self._resumed_order)
        self._train_loader.check_shared_memory(trainer.num_devices)
        return self._fed(self._train_loader)

    def _settle_batch_size(self) -> None:
        """Find the number of images of a batch, or take that of the run to continue."""
        inner: Any = self.inner
        if not getattr(inner, "finds_batch_size", False) or self.find_batch_size is None:
            return
        known = (self._resumed_order or {}).get("batch size over all processes")
        trainer: Any = self.trainer
        of_run = known and known // trainer.world_size
        inner.batch_size, inner.finds_batch_size = of_run or self.find_batch_size(), False
        self.found_batch_size = inner.batch_size
        self.__dict__.pop("_splits", None)  # loaders of another size

    def _fed(self, loader: StepLoader) -> StepLoader:
        """A loader of training images, one of all of which says that it is slow."""
        self._feeding = loader.feeding = self._feeding or loader.feeding
        return loader

    @property
    def _learned_from(self) -> DataLoader[Any]:
        """Training images: the weights split in a search, else all."""
        loader: Any = self.inner.train_dataloader() if self.role == "retrain" else self._splits[0]
        return loader

    def training_labels(self) -> list[int]:
        """Classes of all training images, in a search of those that weights are trained on.

        Raises:
            UserError: where the data set keeps none.
        """
        return list(labels_of(self._learned_from.dataset))

    def plain_training_images(self) -> DataLoader[Any]:
        """The images of ``training_labels``, in the order of their data set, as in evaluation.

        Raises:
            UserError: where the datamodule cannot give them.
        """
        deals = self.role == "search" and hasattr(self.inner, "weights_dataloader")
        part = "weights" if deals else "train"
        plain = plain_images(self.inner, part)
        if self.role == "search" and not deals:  # dealt by the same labels and seed
            plain, _ = hold_out(plain, self.reward_share, self.seed)
        return sharded(plain, 0, 1)

    def reward_batch(self, step: int, rank: int) -> Any:
        """The held-out images, with labels, on which this rank scores the candidates of a step.

        They are a function of (seed, step, rank), in host memory; ``step`` reward batches have been
        drawn before. Steps that follow each other are read ahead by the loader's worker processes;
        any other step starts them anew.

        Raises:
            UserError: if the reward split is smaller than one batch of all processes.
        """
        if self._next_reward != (step, rank):
            self._rewards = self.reward_loader(step, rank).endless()
        self._next_reward = (step + 1, rank)
        return next(self._rewards)

    def reward_loader(self, step: int, rank: int) -> StepLoader:
        """Loader of these batches from a step on.

        Raises:
            UserError: if the reward split is smaller than one batch of all processes.
        """
        place = (self.seed, rank, self.trainer.world_size if self.trainer else 1, step)
        size = self.reward_batch_size
        return resumable(self._splits[1], *place, batch_size=size, view=self._pixels)

    def weights_batches(self, images: int) -> Iterator[Any]:
        """The first batches of a search's training images, the same on every rank.

        They hold at least ``images``, fewer where the data have fewer.
        """
        return islice(self._weights(), math.ceil(images / self.weights_batch_size))

    def endless_weights_batches(self) -> Iterator[Any]:
        """Batches of a search's training images, the same on every rank, epoch after epoch."""
        return self._weights().endless()

    def first_weights_batch(self) -> Any:
        """The first of these, read in this process."""
        return self._weights().peek()

    @property
    def num_readers(self) -> int:
        """Processes that read them; 0 where the one that trains does."""
        return self._weights().loader.num_workers

    @property
    def weights_batch_size(self) -> int:
        """Images of each batch of a search's training images."""
        return self._weights().sampler.global_batch_size

    def _weights(self) -> StepLoader:
        """A search's training images from the first step on, for one rank alone."""
        return self._fed(resumable(self._splits[0], self.seed, view=self._training_view))

    def _training_view(self, dataset: Dataset[Any]) -> Dataset[Any]:
        return self.training_view(self._pixels(dataset))

    def _pixels(self, dataset: Dataset[Any]) -> Dataset[Any]:
        """A data set before its images are normalised, where this can be done on the device."""
        return in_pixels(dataset) if self._steps_of_pixels else dataset

    @cached_property
    def _steps_of_pixels(self) -> Preprocessing | None:
        return self.preprocessing

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Normalises images that are still pixels, after the datamodule's own hook."""
        batch = self.inner.on_after_batch_transfer(batch, dataloader_idx)
        return normalised_batch(batch, self._steps_of_pixels)

    def moved(self, batch: Any, device: torch.device) -> Any:
        """A batch from host memory as training sees it: by the datamodule's hooks, on a device."""
        batch = self.on_before_batch_transfer(batch, 0)
        batch = self.transfer_batch_to_device(batch, device, 0)
        return self.on_after_batch_transfer(batch, 0)

    def val_batches(self) -> DataLoader[Any]:
        """All validation images, on this rank alone."""
        return sharded(self.inner.val_dataloader(), 0, 1, self._pixels)

    def first_line(self, stage: str = "fit") -> str:
        """The classes, images of each split, their sizes, and what was left out and why."""
        return data_line(self.inner, self._split_sizes(stage))

    def _split_sizes(self, stage: str) -> dict[str, int]:
        """Number of images of each split that this role and stage may read, and of the test's."""
        loaders: dict[str, Any] = {}
        if stage == "test":
            loaders = {"test": self.inner.test_dataloader()}
        elif stage == "fit" and self.role == "search" and hasattr(self.inner, "weights_dataloader"):
            loaders = dict(zip(("weights", "reward"), self._splits, strict=True))
        elif stage == "fit":  # holding a reward split out may need a pass over all images
            loaders = {"training": self.inner.train_dataloader()}
        if stage != "test":
            loaders["validation"] = self.inner.val_dataloader()
        return split_sizes(self.inner, loaders)

    @cached_property
    def majority_share(self) -> float:
        """Share of the validation images that are of their most frequent class."""
        labels = known_labels(self.inner.val_dataloader().dataset)
        if labels is None:
            labels = [int(label) for _, batch in self.val_batches() for label in batch]
        return max(Counter(labels).values()) / len(labels)

    @property
    def num_val(self) -> int:
        """Number of validation images."""
        return num_images(self.inner.val_dataloader().dataset)

    def val_dataloader(self) -> DataLoader[Any]:
        """This rank's share of the validation images, in order.

        Raises:
            UserError: if there are fewer than processes, but for none.
        """
        return self._sharded(self.inner.val_dataloader())

    def test_dataloader(self) -> DataLoader[Any]:
        """This rank's share of the test images, in order.

        Raises:
            RuntimeError: in a search.
            UserError: if there are fewer than processes, but for none.
        """
        if self.role == "search":
            raise RuntimeError("search never reads the test split")
        return self._sharded(self.inner.test_dataloader())

    def _sharded(self, loader: DataLoader[Any]) -> DataLoader[Any]:
        trainer = self.trainer
        place = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        return sharded(loader, *place, self._pixels)

    @cached_property
    def _splits(self) -> tuple[DataLoader[Any], DataLoader[Any]]:
        """The training images of a search: loaders of the weights and of the reward split."""
        inner: Any = self.inner
        if hasattr(inner, "weights_dataloader"):
            return inner.weights_dataloader(), inner.reward_dataloader()
        return hold_out(inner.train_dataloader(), self.reward_share, self.seed)
