"""Datamodules of users: what a run needs of them, and what they say of themselves."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch.utils.data import DataLoader

from supernet.data.records import ImageRecord, dataset_records, given_records
from supernet.data.splits import check_labels, default_stem_stride, num_images
from supernet.data_description import DataDescription
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
