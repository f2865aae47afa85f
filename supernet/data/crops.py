"""Crops: what a training and an evaluation see of an image file, in 8 bits.

A training draws its crop before the file is decoded, so that of a large JPEG file no more is made
than the crop needs. An evaluation does what exported files say of their inputs, by Pillow.
"""

from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from supernet.data.images.image_reading import PLENTY, ImageReader, Part, Size
from supernet.data_description import Preprocessing


class Crop(Protocol):
    """What is made of an image file."""

    def __call__(self, reader: ImageReader, path: str) -> Tensor:
        """Pixels (3, R, R) in uint8.

        Raises:
            CorruptImageError: if the file cannot be read.
        """
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
        self.side = side
        self._crop = v2.RandomResizedCrop(side, scale=(area, 1), ratio=(3 / 4, 4 / 3))
        self._flip = v2.RandomHorizontalFlip(flip)

    def __call__(self, reader: ImageReader, path: str) -> Tensor:
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
        self._resample = Image.Resampling[told.interpolation.upper()]
        self._crop = v2.CenterCrop(told.crop)

    def __call__(self, reader: ImageReader, path: str) -> Tensor:
        """Pixels (3, R, R) in uint8."""
        image, part = reader.read_part(path, self._part)
        return v2.functional.pil_to_tensor(self._crop(part.of(image, self._resample)))

    def _part(self, size: Size) -> Part:
        """The whole image, with the shorter side as long as it is wanted."""
        width, height = (self.told.resize * side // min(size) for side in size)
        return Part((0, 0, *size), (width, height), PLENTY)
