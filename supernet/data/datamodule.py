"""Datamodules of users: what a run needs of them, and what they say of themselves."""

import dataclasses
from collections.abc import Mapping, Sequence, Sized
from functools import cached_property
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch.utils.data import DataLoader

from supernet.data.records import ImageRecord, data_digest, dataset_records, given_records
from supernet.data.splits import check_labels, default_stem_stride, num_images
from supernet.data_description import DataDescription, Preprocessing
from supernet.errors import UserError
from supernet.files.reading import short

NAMES_SHOWN = 10
"""Classes up to which the first line of a run names them."""


def image_shape(inner: pl.LightningDataModule) -> tuple[int, int, int]:
    """Number of classes, resolution (px) and stem stride that a datamodule says.

    Raises:
        UserError: if it does not say the first two.
    """
    values = [getattr(inner, name, None) for name in ("num_classes", "resolution")]
    match values:
        case [int(num_classes), int(resolution)]:
            stride: int = getattr(inner, "stem_stride", default_stem_stride(resolution))
            return num_classes, resolution, stride
    raise UserError(
        f"{type(inner).__name__} must have integers num_classes and resolution when constructed,"
        f" got {values[0]} and {values[1]}: set them in its constructor"
    )


def own_description(inner: pl.LightningDataModule, num_classes: int) -> DataDescription:
    """What a datamodule tells of its classes and its preprocessing, by itself.

    Raises:
        UserError: if that is of other classes, or no description.
    """
    own = getattr(inner, "description", None)
    if own is None:
        return DataDescription.of_classes(num_classes)
    name = f"{type(inner).__name__}.description"
    if not isinstance(own, DataDescription):
        raise UserError(
            f"{name} is {short(own)}, it must be a supernet.data_description.DataDescription: give"
            " that, or call what it is otherwise"
        )
    if len(own.classes) != num_classes:
        raise UserError(
            f"{name} names {len(own.classes)} classes, but num_classes is {num_classes}: give each"
            " class its name"
        )
    return own


def check_loaders(inner: pl.LightningDataModule, tests: bool) -> None:
    """Refuse a datamodule without the loaders that a run reads, of a test too where it ``tests``.

    Raises:
        UserError: naming those that it lacks.
    """
    name = type(inner).__name__
    needed = ["train_dataloader", "val_dataloader"] + ["test_dataloader"] * tests
    missing = [f"{loader}()" for loader in needed if not is_overridden(loader, inner)]
    if missing:
        raise UserError(f"{name} lacks {', '.join(missing)}: define what returns a DataLoader")
    if hasattr(inner, "weights_dataloader") != hasattr(inner, "reward_dataloader"):
        raise UserError(
            f"{name} has only one of weights_dataloader() and reward_dataloader(): define both,"
            " which share no image, or neither"
        )


def check_all_labels(inner: pl.LightningDataModule, num_classes: int, stage: str) -> None:
    """Refuse labels that no network can learn, before anything long begins.

    Raises:
        UserError: naming the label.
    """
    fit = {"training": "train", "validation": "val"}
    for name, split in (fit if stage == "fit" else {"test": "test"}).items():
        loader: Any = getattr(inner, f"{split}_dataloader")()
        if isinstance(loader, DataLoader):  # another is refused when it is asked for
            check_labels(loader.dataset, num_classes, name, split == "train")


def plain_images(inner: pl.LightningDataModule, part: str) -> DataLoader[Any]:
    """The images of ``train_dataloader`` or ``weights_dataloader`` in order, as in evaluation.

    Raises:
        UserError: where a datamodule cannot give them.
    """
    give = getattr(inner, f"plain_{part}_dataloader", None)
    if give is None:
        raise UserError(
            f"{type(inner).__name__} lacks plain_{part}_dataloader(), which gives a teacher the"
            " training images as in evaluation: define it as docs/data.md says"
        )
    plain: DataLoader[Any] = give()
    number = num_images(getattr(inner, f"{part}_dataloader")().dataset)
    if num_images(plain.dataset) != number:
        raise UserError(
            f"plain_{part}_dataloader() has {num_images(plain.dataset):,} images, but"
            f" {part}_dataloader() {number:,}: give the same images in the same order"
        )
    return plain


def split_sizes(inner: pl.LightningDataModule, loaders: Mapping[str, Any]) -> dict[str, int]:
    """Number of images of the split of each loader, where it tells, and of the test's if known."""
    datasets = {split: getattr(one, "dataset", None) for split, one in loaders.items()}
    sizes = {split: len(one) for split, one in datasets.items() if isinstance(one, Sized)}
    known = given_records(inner) or []
    tested = sum(record.split == "test" for record in known)
    return {**sizes, "test": sizes.get("test", tested)} if known else sizes


def data_line(inner: pl.LightningDataModule, num_images: Mapping[str, int]) -> str:
    """The classes, images of each split, their sizes, and what was left out and why.

    ``sizes`` and ``notes`` of a datamodule, where it has them, are taken into it.
    """
    num_classes, resolution, _ = image_shape(inner)
    names, told = own_description(inner, num_classes).classes, getattr(inner, "sizes", "")
    shown = f" ({', '.join(names)})" if len(names) <= NAMES_SHOWN else ""
    counts = [f"{number:,} {split}" for split, number in num_images.items()]
    line = (
        f"data: {len(names):,} classes{shown}; {', '.join(counts)} images"
        f"{f' of {told} px' if told else ''}, read at {resolution} px"
    )
    return "; ".join([line, *getattr(inner, "notes", ())])


def known_records(inner: pl.LightningDataModule, *splits: str) -> list[ImageRecord] | None:
    """Records that a datamodule gives of all its images, or those that its data sets hold.

    The latter are of the loaders of ``splits``: train, val, test. None where a data set holds none.
    """
    given = given_records(inner)
    if given is not None:
        return given
    found: list[ImageRecord] = []
    for split in splits:
        loader: Any = getattr(inner, f"{split}_dataloader")()
        held = dataset_records(loader.dataset, split) if isinstance(loader, DataLoader) else None
        if held is None:
            return None
        found += held
    return found


class DescribedData(pl.LightningDataModule):
    """What a datamodule, ``inner``, tells of its images: their records, classes, preprocessing."""

    inner: pl.LightningDataModule
    num_classes: int

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes, known before any image is read."""
        return self._told.classes

    @property
    def description(self) -> DataDescription:
        """What the datamodule says of its classes, its images and itself."""
        said = self._told
        return said if said.digest else dataclasses.replace(said, digest=self._digest)

    @property
    def _told(self) -> DataDescription:
        return own_description(self.inner, self.num_classes)

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How image files become inputs; None where the datamodule does not tell."""
        return self._told.preprocessing

    @cached_property
    def _digest(self) -> str:
        return data_digest(self.records) if self.records else ""

    @cached_property
    def records(self) -> list[ImageRecord] | None:
        """Records of the images, once the data are set up; None where the data hold none.

        They are the datamodule's own, or of its training and validation images as data sets hold
        them: before a search deals its share of the training images.
        """
        return known_records(self.inner, "train", "val")

    def test_records(self) -> list[ImageRecord] | None:
        """Records of the test images, once they are set up; None where the data hold none."""
        known = known_records(self.inner, "test")
        return known and [record for record in known if record.split == "test"]
