"""Stored images: encoded ones with their classes, read once and dealt to splits by content."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import get_args

from torch.utils.data import Dataset

from supernet.data.crops import CentralCrop, Crop, RandomCrop, Reader
from supernet.data.folder_images import FolderImages, OnBadImage, read_images
from supernet.data.images.folder_layout import Layout
from supernet.data.images.image_index import printable
from supernet.data.images.image_reading import CorruptImageError, ImageReader, ImageStore
from supernet.data.images.kept_images import KeptReader, check_room
from supernet.data.pixels import normalised
from supernet.data.records import ImageRecord
from supernet.data.resumable import Blocks
from supernet.data.splits import BatchSize, ImageSplits, LabelledImage
from supernet.data_description import DataDescription, Preprocessing
from supernet.errors import UserError, check_choice, check_range


class StoredImages(ImageSplits):
    """Encoded images with their classes: all read once before a run begins, and split by content.

    Splits that the layout has stay what they are; those that are missing are split off ``train``.
    An image's split depends on the seed and its content alone, so that adding, renaming or removing
    images moves no other one, and copies stand in one split; an image of ``train`` with a copy in
    another split is left out.

    Images have any size and mode; training crops (area 8 to 100 %, aspect 3/4 to 4/3) and flips
    them (Inception's preprocessing, which MnasNet, sec. 5, uses), unless told otherwise; evaluation
    takes the central square of ``crop_pct`` of the shorter side.

    Args:
        layout: classes, and the images of each split.
        store: where they lie, unless they are files.
        resolution: width and height in px, at least 8.
        batch_size: images per batch and process.
        num_workers: worker processes that read and augment images.
        val_share: chance of an image to be for validation, unless there is a split for it.
        test_share: chance of an image to be for testing, unless there is a split for it.
        reward_share: chance of an image to score a search's candidates.
        split_seed: seed of the split; another seed gives another test set.
        mean: of the red, green and blue channel between 0 and 1; ImageNet's by default.
        std: standard deviation of the channels; ImageNet's by default.
        background: red, green and blue from 0 to 255 under transparent pixels; white by default.
        white_16_bit: value of white in 16-bit images, such as 4095 for a camera of 12 bits. Without
            it, the file must tell it or use the upper bits.
        on_bad_image: whether files that cannot be read are refused, all at once, or skipped.
        crop_area: least share of an image that a training crop shows; 1 shows nearly all.
        flip: probability of a mirror image in training; 0 where left and right differ in meaning.
        crop_pct: share of the shorter side that evaluation shows, as timm calls it; 1 where what
            is shown reaches the borders, as in images of 32 px.
        cache: whether decoded images are kept on the disk, between epochs and runs, in the folder
            ``decoded`` of the user's cache.

    Raises:
        UserError: if a value is out of range or, once images are asked for, if they cannot be read
            or are too few of a class.
    """

    def __init__(
        self,
        layout: Layout,
        store: ImageStore | None = None,
        resolution: int = 224,
        batch_size: BatchSize = 64,
        num_workers: int = 2,
        val_share: float = 0.1,
        test_share: float = 0.2,
        reward_share: float = 0.1,
        split_seed: int = 0,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
        background: tuple[int, int, int] = (255, 255, 255),
        white_16_bit: int | None = None,
        on_bad_image: OnBadImage = "error",
        crop_area: float = 0.08,
        flip: float = 0.5,
        crop_pct: float = 0.875,
        cache: bool = False,
    ) -> None:
        shares = {"val": val_share, "test": test_share, "reward": reward_share}
        if min(shares.values()) <= 0 or sum(shares.values()) >= 1:
            raise UserError(
                "val_share, test_share and reward_share must be above 0 and leave training images,"
                f" got {val_share}, {test_share} and {reward_share}, whose sum must be below 1"
            )
        self.layout = layout
        self.classes = self.layout.classes
        super().__init__(len(self.classes), resolution, batch_size, num_workers)
        self._shares = {name: s for name, s in shares.items() if name not in self.layout.files}
        self.split_seed = split_seed
        self.mean, self.std = mean, std
        self.reader = ImageReader(background, white_16_bit, store)
        check_range("", self, "resolution", least=8)
        check_range("", self, "std", above=0)
        self.on_bad_image = on_bad_image
        check_choice("on_bad_image", on_bad_image, get_args(OnBadImage))
        self.crop_area, self.flip, self.crop_pct = crop_area, flip, crop_pct
        check_range("", self, "crop_area", above=0, most=1)
        check_range("", self, "crop_pct", above=0, most=1)
        check_range("", self, "flip", least=0, most=1)
        self.cache = cache
        self._before: Sequence[ImageRecord] = ()

    def prepare_data(self) -> None:
        """Read every image once, on one process of each machine; others find what it has found.

        Raises:
            UserError: naming all that cannot be read, or a split or class without images; or where
                the disk does not hold the images that are to be kept.
        """
        _ = self._room

    def continue_with(self, records: Sequence[ImageRecord]) -> None:
        """Keep to the images with which a run began that now goes on; call it before images."""
        self._before = records

    @property
    def description(self) -> DataDescription:
        """Class names, and how images are prepared for evaluation."""
        return DataDescription(self.classes, preprocessing=self.preprocessing)

    @property
    def preprocessing(self) -> Preprocessing:
        """How an image file becomes a network's input for evaluation."""
        size = self.resolution
        return Preprocessing(
            resize=round(size / self.crop_pct),
            crop=size,
            interpolation="bicubic",
            mean=self.mean,
            std=self.std,
            background=self.reader.background,
        )

    @cached_property
    def found(self) -> FolderImages:
        """The images, read once and dealt to splits."""
        settings = (self._shares, self.split_seed, self.on_bad_image, self._before)
        return read_images(self.layout, self.reader, *settings)

    @property
    def dealt_splits(self) -> Collection[str]:
        """Splits whose images are told by their content, as no folder says them."""
        return self._shares.keys()

    @property
    def sizes(self) -> str:
        """Widths and heights of the images in px, such as ``24x18 to 4000x3000``."""
        return self.found.sizes

    @property
    def notes(self) -> Sequence[str]:
        """What is left out and why, and what else a user should know of the files."""
        left_out = self.layout.left_out_line
        return [*filter(None, [left_out]), *self.found.notes(), *filter(None, [self._room])]

    @cached_property
    def _room(self) -> str:
        """What is kept of decoded images; empty where nothing is."""
        if not self.cache:
            _ = self.found
            return ""
        parts = {("weights", "reward"): True, ("reward", "val", "test"): False}
        missing = [
            self._kept(self._crop(augment), splits).missing_bytes(self.found.pixel_sizes(*splits))
            for splits, augment in parts.items()
        ]
        return check_room(sum(missing))

    def image_records(self) -> list[ImageRecord]:
        """Where each image lies, what it shows, in which split it is, and its content."""
        return self.found.records()

    def _images(self, *splits: str, augment: bool) -> ImageFiles:
        crop = self._crop(augment)
        reader = self._kept(crop, splits) if self.cache else self.reader
        files, skip = self.found.files(*splits), self.on_bad_image == "skip"
        return ImageFiles(files, reader, crop, self.preprocessing, skip)

    def _crop(self, augment: bool) -> Crop:
        told = self.preprocessing
        return RandomCrop(told.crop, self.crop_area, self.flip) if augment else CentralCrop(told)

    def _kept(self, crop: Crop, splits: Sequence[str]) -> KeptReader:
        return KeptReader(self.reader, self.found.digests(*splits), crop.whole, crop.kept_as)


class ImageFiles(Dataset[LabelledImage]):
    """Files with their classes, cropped when asked for, and normalised (3, R, R) as is told.

    Where files that cannot be read are to be skipped, the next good one stands in, with its class.
    """

    def __init__(
        self,
        files: list[tuple[str, int]],
        reader: Reader,
        crop: Crop,
        told: Preprocessing,
        skip: bool = False,
    ) -> None:
        self.files, self.reader, self.crop, self.told, self.skip = files, reader, crop, told, skip
        self.targets = [target for _, target in files]
        self.blocks: Blocks | None = None
        self._said: set[str] = set()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> LabelledImage:
        pixels, target = self.pixels(index)
        return normalised(pixels, self.told), target

    def in_pixels(self) -> PixelFiles:
        """The same images before they are normalised."""
        return PixelFiles(self)

    def pixels(self, index: int) -> LabelledImage:
        """The image of an index in uint8, or the next one that can be read, and its class."""
        path, target = self.files[index]
        for number in range(index + 1, index + 1 + len(self)):
            try:
                return self.crop(self.reader, path), target
            except CorruptImageError as error:
                if not self.skip:
                    raise
                self._say_skipped(path)
                last = error
            path, target = self.files[number % len(self)]
        raise last

    def _say_skipped(self, path: str) -> None:
        """Name a file once for each process that reads."""
        if path not in self._said:
            self._said.add(path)
            sys.stderr.write(
                f"note: {printable(path)} cannot be read, another image stands in for it\n"
            )


class PixelFiles(Dataset[LabelledImage]):
    """Images of files in uint8 (3, R, R), with their classes."""

    def __init__(self, images: ImageFiles) -> None:
        self.images, self.targets = images, images.targets

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> LabelledImage:
        return self.images.pixels(index)
