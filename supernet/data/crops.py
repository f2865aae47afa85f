"""Crops: what a training and an evaluation see of an image file, in 8 bits.

A training draws its crop before the file is decoded, so that of a large JPEG file no more is made
than the crop needs. An evaluation does what exported files say of their inputs, by Pillow.
"""

import math
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from supernet.data.images.image_reading import PLENTY, Choose, Part, Size
from supernet.data_description import Preprocessing

LEAST_ASPECT = 3 / 4
"""Width of a crop over its height, at least; at most the inverse."""


class Reader(Protocol):
    """What reads image files: an ImageReader, or one that keeps what it has decoded."""

    def read_part(self, path: str, choose: Choose) -> tuple[Image.Image, Part]:
        """See ``ImageReader``."""
        ...

    def read_crop(self, path: str, choose: Choose) -> tuple[np.ndarray, Part]:
        """See ``ImageReader``."""
        ...


class Crop(Protocol):
    """What is made of an image file."""

    kept_as: str
    """Names what ``whole`` gives."""

    def __call__(self, reader: Reader, path: str) -> Tensor:
        """Pixels (3, R, R) in uint8.

        Raises:
            CorruptImageError: if the file cannot be read.
        """
        ...

    def whole(self, size: Size) -> Part:
        """A whole image of some size, as large as every crop of it needs."""
        ...


class RandomCrop:
    """A random part of an image, resized to a square and mirrored at random.

    The preprocessing of Inception, as torchvision draws it: from torch's global generator.

    Args:
        side: R of the square, px.
        area: least share of the image.
        flip: probability of a mirror image.
    """

    def __init__(self, side: int, area: float, flip: float) -> None:
        self.side, self.area = side, area
        self.kept_as = f"crops of {area} to {side}"
        self._crop = v2.RandomResizedCrop(
            side, scale=(area, 1), ratio=(LEAST_ASPECT, 1 / LEAST_ASPECT)
        )
        self._flip = v2.RandomHorizontalFlip(flip)

    def __call__(self, reader: Reader, path: str) -> Tensor:
        """Pixels (3, R, R) in uint8."""
        pixels, part = reader.read_crop(path, self._draw)
        flipped: Tensor = self._flip(_resized(pixels, part))
        return flipped

    def _draw(self, size: Size) -> Part:
        """A part of an image of this size."""
        width, height = size
        drawn = self._crop.make_params([torch.empty(1, height, width, device="meta")])
        left, top = drawn["left"], drawn["top"]
        box = (left, top, left + drawn["width"], top + drawn["height"])
        return Part(box, (self.side, self.side))

    def whole(self, size: Size) -> Part:
        """An image of which the smallest crop covers the square once."""
        width, height = size
        shortest = min(math.sqrt(self.area * width * height * LEAST_ASPECT), width, height)
        larger = max(1.0, shortest / self.side)
        wanted = (math.ceil(width / larger), math.ceil(height / larger))
        return Part((0, 0, width, height), wanted, enough=1.0)


def _resized(pixels: np.ndarray, part: Part) -> Tensor:
    """A part of pixels (H, W, 3) at its size, (3, R, R)."""
    height, width, _ = pixels.shape
    if part.box != (0, 0, width, height):
        image = part.of(Image.fromarray(pixels), Image.Resampling.BILINEAR)
        return v2.functional.pil_to_tensor(image)
    # torch's filter takes a third of the time of Pillow's; they differ by 1 at most.
    channels = torch.from_numpy(pixels).permute(2, 0, 1)
    return v2.functional.resize(channels, list(part.size[::-1]), antialias=True)


class CentralCrop:
    """The centre of an image, as its preprocessing says."""

    def __init__(self, told: Preprocessing) -> None:
        self.told = told
        self.kept_as = f"whole to {told.resize}"
        self._resample = Image.Resampling[told.interpolation.upper()]
        self._crop = v2.CenterCrop(told.crop)

    def __call__(self, reader: Reader, path: str) -> Tensor:
        """Pixels (3, R, R) in uint8."""
        image, part = reader.read_part(path, self.whole)
        return v2.functional.pil_to_tensor(self._crop(part.of(image, self._resample)))

    def whole(self, size: Size) -> Part:
        """The whole image, with the shorter side as long as it is wanted."""
        width, height = (self.told.resize * side // min(size) for side in size)
        return Part((0, 0, *size), (width, height), PLENTY)
