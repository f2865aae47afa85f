"""Digits: scikit-learn's handwritten digits, the embedded real images."""

from __future__ import annotations

import math
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from supernet.data.splits import ImageParts, Sample, stratified_split
from supernet.errors import check_range


def source_digits() -> tuple[Tensor, list[int]]:
    """Scikit-learn's 1,797 digits (N, 1, 8, 8) between 0 and 1, and their N classes."""
    from sklearn.datasets import load_digits  # slow to import

    pixels, targets = load_digits(return_X_y=True)
    return torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8), targets.tolist()


class Digits(ImageParts):
    """Scikit-learn's 1,797 handwritten digits: real images that need no download.

    Stratified: test 20 %, val 10 %, reward 10 %, weights the rest. Training images are slightly
    rotated, scaled and shifted.

    Args:
        resolution: width and height in px, 8 to 32; the originals have 8 and are resized
            bilinearly.
        batch_size: images per batch and process.
        split_seed: seed of the split; another seed gives another test set.
        num_workers: worker processes; a batch costs less than handing it over, so 0 is fastest.

    Raises:
        UserError: if ``resolution``, ``batch_size`` or ``num_workers`` is out of range.
    """

    SHARES: ClassVar = {"test": 0.2, "val": 0.1, "reward": 0.1}

    def __init__(
        self, resolution: int = 16, batch_size: int = 64, split_seed: int = 0, num_workers: int = 0
    ) -> None:
        super().__init__(10, resolution, batch_size, num_workers)
        check_range("", self, "resolution", least=8, most=32)
        self.split_seed = split_seed

    @cached_property
    def _digits(self) -> tuple[Tensor, list[int], dict[str, list[int]]]:
        """All images (1797, 1, R, R), their classes and the indices of each part."""
        images, targets = source_digits()
        size = (self.resolution, self.resolution)
        images = F.interpolate(images, size, mode="bilinear", align_corners=False)
        parts = stratified_split(targets, list(self.SHARES.values()), self.split_seed)
        return images, targets, dict(zip([*self.SHARES, "weights"], parts, strict=True))

    def _images(self, *parts: str, augment: bool) -> DigitImages:
        images, targets, indices = self._digits
        chosen = [index for part in parts for index in indices[part]]
        return DigitImages(images[chosen], [targets[index] for index in chosen], augment)


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
