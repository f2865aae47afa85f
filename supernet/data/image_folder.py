"""ImageFolder: your own images, one folder for each class."""

from __future__ import annotations

import struct
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset
from torchvision.transforms import v2

from supernet.data.splits import ImageSplits, LabelledImage, stratified_split
from supernet.errors import UserError, check_range, one_line

_BROKEN = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)
"""Errors of Pillow over a file that is no image, or half of one."""


class ImageFolder(ImageSplits):
    """Your own images, one folder per class: ``root/CLASS/*.jpg`` or ``root/train/CLASS/*.jpg``.

    With a folder ``train`` (and nothing beside it but ``val`` and ``test``), the splits that are
    missing are split off ``train``; for ImageNet, name its validation folder ``test``, as the
    literature does. Without it, everything is split. Every split is stratified and seeded. Images
    have any size and mode; training crops (area 8 to 100 %, aspect 3/4 to 4/3) and flips them
    (Inception's preprocessing, which MnasNet, sec. 5, uses); evaluation takes the central 87.5 %.

    Args:
        root: the folder; hidden folders in it are ignored.
        resolution: width and height in px, at least 8.
        batch_size: images per batch and process.
        num_workers: worker processes that read and augment images.
        val_share: share of each class for validation, unless there is a folder for it.
        test_share: share of each class for testing, unless there is a folder for it.
        reward_share: share of each class that scores a search's candidates.
        split_seed: seed of the split; another seed gives another test set.
        mean: of the red, green and blue channel between 0 and 1; ImageNet's by default.
        std: standard deviation of the channels; ImageNet's by default.

    Raises:
        UserError: if a value is out of range, if ``root`` is missing or holds fewer than two
            classes or, once images are asked for, if a class has none or too few of them.
    """

    def __init__(
        self,
        root: str,
        resolution: int = 224,
        batch_size: int = 64,
        num_workers: int = 2,
        val_share: float = 0.1,
        test_share: float = 0.2,
        reward_share: float = 0.1,
        split_seed: int = 0,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
    ) -> None:
        shares = {"val": val_share, "test": test_share, "reward": reward_share}
        if min(shares.values()) <= 0 or sum(shares.values()) >= 1:
            raise UserError(
                "val_share, test_share and reward_share must be above 0 and leave training images,"
                f" got {val_share}, {test_share} and {reward_share}, whose sum must be below 1"
            )
        self.root = Path(root).expanduser()
        self._folders = _split_folders(self.root)
        self.classes = class_names(self._folders["train"])
        super().__init__(len(self.classes), resolution, batch_size, num_workers)
        self._shares = {name: s for name, s in shares.items() if name not in self._folders}
        self.split_seed = split_seed
        self.mean, self.std = mean, std
        check_range("", self, "resolution", least=8)
        check_range("", self, "std", above=0)

    @cached_property
    def _files(self) -> dict[str, list[tuple[str, int]]]:
        """Paths and classes of the images of each split."""
        files = {name: image_files(f, self.classes) for name, f in self._folders.items()}
        train = files.pop("train")
        labels = [label for _, label in train]
        dealt = stratified_split(labels, self._shares, self.split_seed, self.classes)
        return files | {name: [train[i] for i in indices] for name, indices in dealt.items()}

    def _images(self, *splits: str, augment: bool) -> ImageFiles:
        files = [file for split in splits for file in self._files[split]]
        size = self.resolution
        if augment:
            crop: list[torch.nn.Module] = [
                v2.RandomResizedCrop(size, scale=(0.08, 1), ratio=(3 / 4, 4 / 3)),
                v2.RandomHorizontalFlip(),
            ]
        else:
            resize = v2.Resize(round(size / 0.875), interpolation=v2.InterpolationMode.BICUBIC)
            crop = [resize, v2.CenterCrop(size)]
        to_tensor = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
        normalise = v2.Normalize(list(self.mean), list(self.std))
        return ImageFiles(files, v2.Compose([*crop, *to_tensor, normalise]))


def _split_folders(root: Path) -> dict[str, Path]:
    """The folder of each split that has its own; ``train`` is ``root`` itself if none has."""
    names = {f.name for f in root.iterdir() if f.is_dir()} if root.is_dir() else set()
    names = {name for name in names if not name.startswith(".")}
    if "train" in names and names <= {"train", "val", "test"}:
        return {name: root / name for name in sorted(names)}
    return {"train": root}


class CorruptImageError(UserError):
    """An image file that cannot be read, named by its path.

    A worker process hands an exception over as its type and a formatted traceback, and torch calls
    that type with the whole text; keeping what follows the name restores the one line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class ImageFiles(Dataset[LabelledImage]):
    """Files with their classes, opened when asked for, normalised to (3, R, R) by ``transform``."""

    def __init__(self, files: list[tuple[str, int]], transform: v2.Compose) -> None:
        self.files, self.transform = files, transform
        self.targets = [target for _, target in files]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> LabelledImage:
        path, target = self.files[index]
        return self.transform(open_rgb(path)), target


def open_rgb(path: str) -> Image.Image:
    """An image of any kind as 8-bit RGB; alpha is dropped.

    Raises:
        CorruptImageError: if the file is no image, is damaged or has 32-bit pixels.
    """
    try:
        with Image.open(path) as image:
            if image.mode in {"I", "F"}:  # of unknown range: Pillow would clip it to 255 silently
                raise ValueError(f"32-bit pixels ({image.mode})")
            if image.mode.startswith("I;16"):
                return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
            if "transparency" in image.info:  # Pillow warns about a palette with alpha otherwise
                return image.convert("RGBA").convert("RGB")
            return image.convert("RGB")
    except _BROKEN as error:
        raise CorruptImageError(
            f"{path} cannot be read as an image, repair or remove it ({one_line(error)})"
        ) from error


def class_names(folder: Path) -> list[str]:
    """The class folders in a folder, sorted; hidden ones are ignored.

    Raises:
        UserError: if the folder is missing or holds fewer than two classes.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: give one that holds a folder for each class")
    names = sorted(f.name for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))
    if len(names) < 2:
        raise UserError(
            f"{folder} holds {len(names)} class folder(s), at least 2 are needed: put the images"
            f" into {folder / 'CLASS_A'}, {folder / 'CLASS_B'} and so on"
        )
    return names


def image_files(folder: Path, classes: list[str]) -> list[tuple[str, int]]:
    """Paths and classes of all images in a folder of class folders."""
    found = class_names(folder)
    if found != classes:
        odd = sorted(set(found) ^ set(classes))[0]
        raise UserError(
            f"{folder} and its neighbour 'train' hold different classes, for instance {odd}: give"
            " both the same class folders"
        )
    class_index = {name: index for index, name in enumerate(classes)}
    files: list[tuple[str, int]] = make_dataset(
        str(folder), class_index, extensions=IMG_EXTENSIONS, allow_empty=True
    )
    empty = set(range(len(classes))) - {label for _, label in files}
    if empty:
        raise UserError(
            f"{folder / classes[min(empty)]} holds no images ({', '.join(IMG_EXTENSIONS)}): add"
            " some or remove the folder"
        )
    return files
