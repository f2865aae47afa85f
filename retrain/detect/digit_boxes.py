"""DigitBoxes: a small detection set, drawn with scikit-learn's handwritten digits."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.ops import masks_to_boxes

from supernet.data.digits import DigitImages, Digits
from supernet.data.records import ImageRecord
from supernet.data.splits import default_stem_stride, split_loader
from supernet.data_description import DataDescription, Preprocessing
from supernet.errors import check_range

Boxes = dict[str, Tensor]
"""``boxes`` (N, 4) as x1, y1, x2, y2 in pixels and ``labels`` (N,), 1 for the first class; a
detector adds ``scores`` (N,)."""
BoxedImage = tuple[Tensor, Boxes]
"""A normalised float32 image (3, R, R) and its boxes."""
BoxBatch = tuple[list[Tensor], list[Boxes]]
"""Normalised images (3, R, R) and the boxes of each."""

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class BoxImages(Dataset[BoxedImage]):
    """Digits of random colours, sizes and places on a plain background with noise.

    Image number i is a function of (seed, split, i) alone. It holds at least one digit; others are
    left out where they would cover another by more than ``MAX_OVERLAP``. A box is as tight as the
    digit's ink: to half its darkest value.
    """

    MEAN: ClassVar = 0.25
    """Mean of the colours, to two digits, and below their standard deviation."""
    STD: ClassVar = 0.17
    SIDES: ClassVar = (0.18, 0.45)
    """Smallest and largest side of a digit's 8x8 pixels over the image's."""
    MAX_OVERLAP: ClassVar = 0.1
    """Area that two boxes may share, over that of the smaller."""

    digits: DigitImages
    """What to draw with."""
    split: str
    """One of ``SPLITS``, part of the seed."""
    num_images: int
    resolution: int
    """Side R of the images, px."""
    max_digits: int
    """Largest number of digits that are drawn into one image."""
    noise: float
    """Standard deviation of every pixel, where 1 is the range of colours."""
    seed: int
    """Not negative."""

    def __len__(self) -> int:
        return self.num_images

    def __getitem__(self, index: int) -> BoxedImage:
        rng = np.random.default_rng([self.seed, SPLITS.index(self.split), index])
        ink, boxes, labels = self._draw(rng)
        back, front = rng.uniform(0, 0.4, (3, 1, 1)), rng.uniform(0.6, 1, (3, 1, 1))
        colours = back + ink.numpy() * (front - back)
        colours += rng.normal(0, self.noise, colours.shape)
        image = (torch.from_numpy(colours).float() - self.MEAN) / self.STD
        return image, {"boxes": torch.tensor(boxes), "labels": torch.tensor(labels)}

    def _draw(self, rng: np.random.Generator) -> tuple[Tensor, list[list[float]], list[int]]:
        """Ink (R, R) between 0 and 1, and the boxes and labels of the digits in it."""
        ink = torch.zeros(self.resolution, self.resolution)
        boxes: list[list[float]] = []
        labels: list[int] = []
        for _ in range(rng.integers(1, self.max_digits + 1)):
            index = int(rng.integers(len(self.digits)))
            side = max(8, round(rng.uniform(*self.SIDES) * self.resolution))
            digit = _resized(self.digits.images[index], side)
            x, y = rng.integers(self.resolution - len(digit) + 1, size=2)
            left, top, right, bottom = _tight_box(digit)
            box = [float(v) for v in (x + left, y + top, x + right, y + bottom)]
            if all(_overlap(box, other) <= self.MAX_OVERLAP for other in boxes):
                place = ink[y : y + len(digit), x : x + len(digit)]
                torch.maximum(place, digit, out=place)
                boxes.append(box)
                labels.append(self.digits.targets[index] + 1)
        return ink, boxes, labels


def _resized(digit: Tensor, side: int) -> Tensor:
    """A digit (1, 8, 8) at another size (side, side), its darkest pixel 1."""
    size = (side, side)
    digit = F.interpolate(digit[None], size, mode="bilinear", align_corners=False)[0, 0]
    return digit / digit.max()


def _tight_box(digit: Tensor) -> tuple[int, int, int, int]:
    """Left, top, right and bottom edge of the pixels that hold at least half of the ink."""
    left, top, right, bottom = map(int, masks_to_boxes(digit[None] >= 0.5)[0])
    return left, top, right + 1, bottom + 1


def _overlap(one: list[float], other: list[float]) -> float:
    """Shared area of two boxes over the area of the smaller."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return max(0.0, width) * max(0.0, height) / smaller


class DigitBoxes(pl.LightningDataModule):
    """Images of a few handwritten digits each, to be found and told apart: needs no download.

    Training, validation and test images are drawn with different digits (those of ``Digits``).
    Batches are lists, as torchvision's detectors take them: images (3, R, R) and their targets.

    Args:
        resolution: width and height in px, at least 48.
        batch_size: images per batch and process.
        train_images: number of training images, the same in every epoch.
        val_images: number of validation images.
        test_images: number of test images.
        max_digits: of one image.
        noise: standard deviation of every pixel, where 1 is the range of colours.
        seed: of the split of the digits and of what is drawn.
        num_workers: worker processes; an image costs about a millisecond.

    Raises:
        UserError: if a value is out of range.
    """

    num_classes = 10
    """Without the background, whose label is 0."""

    def __init__(
        self,
        resolution: int = 128,
        batch_size: int = 16,
        train_images: int = 2048,
        val_images: int = 128,
        test_images: int = 256,
        max_digits: int = 4,
        noise: float = 0.05,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.resolution = resolution
        self.stem_stride = default_stem_stride(resolution)
        self.batch_size = batch_size
        self.train_images, self.val_images, self.test_images = train_images, val_images, test_images
        self.max_digits = max_digits
        self.noise = noise
        self.seed = seed
        self.num_workers = num_workers
        check_range("", self, "resolution", least=48)
        counts = ("train_images", "val_images", "test_images")
        check_range("", self, "batch_size", "max_digits", *counts, least=1)
        check_range("", self, "seed", "noise", "num_workers", least=0)

    @property
    def description(self) -> DataDescription:
        """Class names, and how an image file becomes an input."""
        side, mean, std = self.resolution, BoxImages.MEAN, BoxImages.STD
        steps = Preprocessing(side, side, "bilinear", (mean,) * 3, (std,) * 3)
        return DataDescription(tuple("0123456789"), preprocessing=steps)

    def _images(self, split: str) -> BoxImages:
        digits = Digits(resolution=8, split_seed=self.seed)
        source = getattr(digits, f"{split}_dataloader")().dataset
        number, side = getattr(self, f"{split}_images"), self.resolution
        return BoxImages(source, split, number, side, self.max_digits, self.noise, self.seed)

    def image_records(self) -> list[ImageRecord]:
        """Class, split and content of each source digit."""
        return Digits(resolution=8, split_seed=self.seed).image_records()

    def _loader(self, split: str) -> DataLoader[BoxedImage]:
        images, train = self._images(split), split == "train"
        return split_loader(images, self.batch_size, self.num_workers, train, as_lists)

    def train_dataloader(self) -> DataLoader[BoxedImage]:
        """The images to train on."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[BoxedImage]:
        """The images that choose the checkpoint."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[BoxedImage]:
        """The images that are read once, at the end."""
        return self._loader("test")


def as_lists(samples: list[BoxedImage]) -> BoxBatch:
    """A batch as torchvision's detectors take it."""
    images, boxes = zip(*samples, strict=True)
    return list(images), list(boxes)
