"""The data sets behind ``supernet.data``: digits in memory, image files in class folders."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset
from torchvision.transforms import v2

from supernet.errors import UserError

Sample = tuple[Tensor, int]
"""A normalised float32 image (3, R, R) and its class."""


class DigitImages(Dataset[Sample]):
    """Grey images as three identical channels; a whole batch is built at once.

    Args:
        images: float32 (N, 1, R, R) between 0 (background) and 1.
        targets: N classes.
        augment: rotate by up to 12 degrees, scale by up to 10 % and shift by up to 12.5 % of the
            width, all uniform; what enters from outside is background.
    """

    MEAN, STD = 0.3053, 0.3760
    """Of the 1,797 images at their own 8 px."""

    def __init__(self, images: Tensor, targets: list[int], augment: bool) -> None:
        self.images = images
        self.targets = targets
        self.augment = augment

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Sample:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Sample]:
        """A batch; torch's global generator seeds the augmentation."""
        # Evaluation must not advance the generator that training draws from.
        seeds = torch.randint(2**32, (len(indices),)).tolist() if self.augment else []
        return self.seeded_items(indices, seeds)

    def seeded_items(self, indices: list[int], seeds: list[int]) -> list[Sample]:
        """A batch in which each image depends on its own seed only, whatever lies beside it."""
        images = self.images[indices]
        if self.augment:
            images = _moved(images, seeds)
        images = ((images - self.MEAN) / self.STD).expand(-1, 3, -1, -1)
        return list(zip(images.unbind(), [self.targets[i] for i in indices], strict=True))


def _moved(images: Tensor, seeds: list[int]) -> Tensor:
    """Rotates, scales and shifts images (B, 1, R, R), each by its seed."""
    generator = torch.Generator()
    draws = [torch.rand(4, generator=generator.manual_seed(seed)) for seed in seeds]
    angle, scale, *shift = (2 * torch.stack(draws) - 1).unbind(1)
    angle = math.radians(12) * angle
    cos, sin = angle.cos() / (1 + 0.1 * scale), angle.sin() / (1 + 0.1 * scale)
    inverse = torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2)
    # In grid coordinates the image is 2 wide.
    offset = -inverse @ (2 * 0.125 * torch.stack(shift, 1))[:, :, None]
    grid = F.affine_grid(torch.cat([inverse, offset], 2), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


class CorruptImageError(UserError):
    """An image file that cannot be read, named by its path.

    A worker process hands an exception over as its type and a formatted traceback, and torch calls
    that type with the whole text; keeping what follows the name restores the one line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class ImageFiles(Dataset[Sample]):
    """Image files, opened when asked for.

    Args:
        files: paths and classes.
        transform: from an RGB image to a normalised tensor (3, R, R).
    """

    def __init__(self, files: list[tuple[str, int]], transform: v2.Compose) -> None:
        self.files = files
        self.targets = [target for _, target in files]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        path, target = self.files[index]
        return self.transform(open_rgb(path)), target


def open_rgb(path: str) -> Image.Image:
    """Reads an image of any kind as 8-bit RGB; alpha is dropped.

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
    except (
        OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())
        raise CorruptImageError(
            f"{path} cannot be read as an image, repair or remove it ({reason})"
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
