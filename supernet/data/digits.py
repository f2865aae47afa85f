"""The embedded digits: scikit-learn's handwritten ones, as they are or among clutter. No download.

``Digits`` are real images that a small network learns in seconds. ``ClutteredDigits`` are made hard
enough that networks differ: a digit is turned, scaled and placed at random among fragments of other
digits and noise (after "cluttered MNIST": Mnih et al. 2014, "Recurrent models of visual attention",
sec. 4.1). No source digit serves in two splits, not even as a fragment.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from supernet.data.records import ImageRecord, array_digest
from supernet.data.splits import (
    BatchSize,
    ImageSplits,
    LabelledImage,
    split_loader,
    stratified_split,
)
from supernet.data_description import DataDescription, Preprocessing
from supernet.errors import UserError, check_range

NUM_DRAWS = 6
"""Uniform numbers of each cluttered digit and fragment: angle, side, x, y, and direction and place
of the cut."""


@cache
def source_digits() -> tuple[Tensor, list[int]]:
    """Scikit-learn's 1,797 digits (N, 1, 8, 8) between 0 and 1, and their N classes: to be read."""
    from sklearn.datasets import load_digits  # slow to import

    pixels, targets = load_digits(return_X_y=True)
    return torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8), targets.tolist()


@cache
def _digests() -> list[str]:
    """Hashes of the source digits' contents."""
    return [array_digest(digit) for digit in source_digits()[0].numpy()]


class _SeededImages(Dataset[LabelledImage]):
    """Grey images as three identical channels; a whole batch is built at once."""

    MEAN: ClassVar[float]
    STD: ClassVar[float]
    targets: list[int]
    """Classes of all images."""
    changing: bool
    """Whether an image differs each time that it is drawn."""

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> LabelledImage:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[LabelledImage]:
        """A batch; torch's global generator seeds the images that change."""
        # Evaluation must not advance the generator that training draws from.
        seeds = torch.randint(2**32, (len(indices),)).tolist() if self.changing else []
        return self.seeded_items(indices, seeds)

    def seeded_items(self, indices: list[int], seeds: list[int]) -> list[LabelledImage]:
        """A batch in which each image depends on its own seed only, whatever lies beside it."""
        images = (self._draw(indices, seeds) - self.MEAN) / self.STD
        targets = [self.targets[index] for index in indices]
        return list(zip(images.expand(-1, 3, -1, -1).unbind(), targets, strict=True))

    @abstractmethod
    def _draw(self, indices: list[int], seeds: list[int]) -> Tensor:
        """Images (B, 1, R, R), about 0 (background) to 1 (a stroke), each by its seed."""


class DigitImages(_SeededImages):
    """Digits (N, 1, R, R) in float32 between 0 (background) and 1, in training moved a little.

    That is to rotate by up to 12 degrees, scale by up to 10 % and shift by up to 12.5 % of the
    width, all uniform; what enters from outside is background.
    """

    MEAN, STD = 0.3053, 0.3760
    """Mean and deviation of the 1,797 images at their own 8 px."""

    def __init__(self, images: Tensor, targets: list[int], augment: bool) -> None:
        self.images, self.targets, self.changing = images, targets, augment

    def _draw(self, indices: list[int], seeds: list[int]) -> Tensor:
        images = self.images[indices]
        return _moved(images, seeds) if self.changing else images


def _moved(images: Tensor, seeds: list[int]) -> Tensor:
    """Images (B, 1, R, R) rotated, scaled and shifted, each by its seed."""
    generator = torch.Generator()
    draws = [torch.rand(4, generator=generator.manual_seed(seed)) for seed in seeds]
    uniform = 2 * torch.stack(draws)[:, None] - 1
    angle, side = -math.radians(12) * uniform[..., 0], 1 + 0.1 * uniform[..., 1]
    # In grid coordinates the image is 2 wide.
    return _placed(images, angle, side, 2 * 0.125 * uniform[..., 2:], images.shape[-1])


@dataclass(frozen=True)
class Difficulty:
    """Distance of an image from the digit in it.

    Raises:
        UserError: naming the value that is out of range.
    """

    rotation: float = 15.0
    """Largest angle of the digit either way, in degrees; fragments turn freely."""
    smallest: float = 0.6
    """Least side of a digit over the side of the image."""
    largest: float = 0.9
    """Greatest side of a digit over the side of the image."""
    fragments: int = 2
    """Pieces of other digits in each image, of the sizes of digits."""
    noise: float = 0.1
    """Standard deviation of the noise of each pixel, where background is 0 and a stroke 1."""

    def __post_init__(self) -> None:
        check_range("difficulty.", self, "rotation", least=0, most=180)
        check_range("difficulty.", self, "smallest", above=0, most=1)
        check_range("difficulty.", self, "largest", least=self.smallest, most=1)
        check_range("difficulty.", self, "fragments", "noise", least=0)


@dataclass(eq=False)
class ClutteredImages(_SeededImages):
    """Images of cluttered digits, each a function of its seed."""

    MEAN, STD = 0.22, 0.31
    """Mean and deviation of the pixels at the default difficulty and 16 px."""
    digits: Tensor
    """Sources, of fragments too: float32 (N, 1, 8, 8) between 0 (background) and 1."""
    classes: Sequence[int]
    """Classes of the N sources."""
    resolution: int
    """Side R of the images, px."""
    difficulty: Difficulty
    seeds: Sequence[int] | None = None
    """Those of images that never change: image ``i`` shows digit ``i % N``. Without them there are
    N images, drawn anew each time."""

    def __post_init__(self) -> None:
        self.changing = self.seeds is None
        number = len(self.classes) if self.seeds is None else len(self.seeds)
        self.targets = [self.classes[index % len(self.classes)] for index in range(number)]

    def _draw(self, indices: list[int], seeds: list[int]) -> Tensor:
        if self.seeds is not None:
            seeds = [self.seeds[index] for index in indices]
        uniform, fragments, noise = self._random(seeds)
        sources = torch.tensor([index % len(self.digits) for index in indices])
        shapes = self.digits[torch.cat([sources[:, None], fragments], 1)][:, :, 0]
        shapes[:, 1:] = _cut(shapes[:, 1:], *uniform[:, 1:, 4:].unbind(-1))
        placed = _placed(shapes, *self._geometry(uniform), self.resolution)
        return placed.amax(1, keepdim=True) + self.difficulty.noise * noise

    def _random(self, seeds: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Uniform (B, 1 + F, NUM_DRAWS), sources of fragments (B, F), noise (B, 1, R, R)."""
        pieces, shape = self.difficulty.fragments, (1, self.resolution, self.resolution)
        generator, drawn = torch.Generator(), []
        for seed in seeds:
            generator.manual_seed(seed)
            uniform = torch.rand(1 + pieces, NUM_DRAWS, generator=generator)
            fragments = torch.randint(len(self.digits), (pieces,), generator=generator)
            drawn.append((uniform, fragments, torch.randn(shape, generator=generator)))
        uniform, fragments, noise = map(torch.stack, zip(*drawn, strict=True))
        return uniform, fragments, noise

    def _geometry(self, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Angles (radians), sides (shares of the image) and centres (in [-1, 1]) of all shapes."""
        level = self.difficulty
        limit = torch.full(uniform.shape[1:2], math.pi)
        limit[0] = math.radians(level.rotation)
        angle = limit * (2 * uniform[..., 0] - 1)
        side = level.smallest + (level.largest - level.smallest) * uniform[..., 1]
        # The digit lies inside the image; a fragment may leave it.
        room = torch.cat([1 - side[:, :1], torch.ones_like(side[:, 1:])], 1)
        return angle, side, (2 * uniform[..., 2:4] - 1) * room[..., None]


def _cut(shapes: Tensor, direction: Tensor, place: Tensor) -> Tensor:
    """Pieces beyond a line of shapes (B, F, H, H): a sixth to half of each one's square.

    The line has a direction (B, F) in [0, 1), of a whole turn, and a place (B, F) in [0, 1), how
    far from the centre it lies.
    """
    centres = (2 * torch.arange(shapes.shape[-1]) + 1) / shapes.shape[-1] - 1
    turn = 2 * math.pi * direction[..., None, None]
    distance = turn.cos() * centres + turn.sin() * centres[:, None]
    return shapes * (distance > 0.6 * place[..., None, None])


def _placed(shapes: Tensor, angle: Tensor, side: Tensor, centre: Tensor, size: int) -> Tensor:
    """Turned, scaled and moved shapes (B, K, H, H) on images (B, K, size, size), background 0.

    Angles (B, K) are in radians, sides (B, K) over the side of the image, and centres (B, K, 2)
    hold x and y in [-1, 1].
    """
    cos, sin = angle.cos() / side, angle.sin() / side
    inverse = torch.stack([cos, sin, -sin, cos], -1).view(-1, 2, 2)
    offset = -inverse @ centre.reshape(-1, 2, 1)
    to, shape = torch.cat([inverse, offset], 2), [len(inverse), 1, size, size]
    grid = F.affine_grid(to, shape, align_corners=False)
    images = F.grid_sample(shapes.flatten(0, 1)[:, None], grid, align_corners=False)
    return images.view(*shapes.shape[:2], size, size)


class _EmbeddedDigits(ImageSplits):
    """The digits, dealt to splits by source digit."""

    SHARES: ClassVar[dict[str, float]]
    split_seed: int

    @cached_property
    def _sources(self) -> dict[str, tuple[Tensor, list[int]]]:
        """The digits (N, 1, 8, 8) between 0 and 1 and their classes, by split."""
        digits, targets = source_digits()
        return {
            split: (digits[chosen], [targets[i] for i in chosen])
            for split, chosen in self._dealt(targets).items()
        }

    def _dealt(self, targets: list[int]) -> dict[str, list[int]]:
        """Numbers of the digits of each split."""
        return stratified_split(targets, self.SHARES, self.split_seed)

    def image_records(self) -> list[ImageRecord]:
        """Class, split and content of each source digit, which are the same among clutter."""
        digests, (_, targets) = _digests(), source_digits()
        return [
            ImageRecord(f"digits/{i}", targets[i], split, digests[i])
            for split, chosen in self._dealt(targets).items()
            for i in chosen
        ]

    def _digits(self, splits: Sequence[str]) -> tuple[Tensor, list[int]]:
        """The digits of these splits together, and their classes."""
        sources = [self._sources[split] for split in splits]
        targets = [target for _, classes in sources for target in classes]
        return torch.cat([digits for digits, _ in sources]), targets


class Digits(_EmbeddedDigits):
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

    Examples:
        >>> data = Digits(resolution=16, batch_size=64)
        >>> data.setup("test")
        >>> images, labels = next(iter(data.test_dataloader()))
        >>> images.shape
        torch.Size([64, 3, 16, 16])
    """

    SHARES: ClassVar = {"test": 0.2, "val": 0.1, "reward": 0.1}

    def __init__(
        self,
        resolution: int = 16,
        batch_size: BatchSize = 64,
        split_seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(10, resolution, batch_size, num_workers)
        self.split_seed = split_seed
        check_range("", self, "resolution", least=8, most=32)

    @property
    def description(self) -> DataDescription:
        """Class names, and how an image of a digit in white on black becomes an input."""
        side, mean, std = self.resolution, DigitImages.MEAN, DigitImages.STD
        steps = Preprocessing(side, side, "bilinear", (mean,) * 3, (std,) * 3, (0, 0, 0))
        return DataDescription(tuple("0123456789"), preprocessing=steps)

    def _images(self, *splits: str, augment: bool) -> DigitImages:
        digits, targets = self._digits(splits)
        size = (self.resolution, self.resolution)
        images = F.interpolate(digits, size, mode="bilinear", align_corners=False)
        return DigitImages(images, targets, augment)


class ClutteredDigits(_EmbeddedDigits):
    """The embedded digits among clutter: as hard as you like, and networks differ.

    Splits as in ``Digits``, by source digit: test 40 %, val 15 %, reward 15 %, weights the rest;
    fragments come from digits of the same split. Evaluation images are fixed by ``split_seed``;
    each source digit gives ``copies`` of them. Training images are fixed as well, or drawn anew
    for each seed: with few fixed ones a training ends sooner, and networks differ in how they
    generalise.

    Args:
        resolution: width and height in px, 8 to 64.
        batch_size: images per batch and process.
        difficulty: how the digits are cluttered.
        copies: images of each source digit for evaluation: more of them, less noise.
        train_copies: fixed images of each source digit for training; 0 draws them anew.
        split_seed: seed of the split and of the evaluation images.
        num_workers: worker processes; a batch costs less than handing it over, so 0 is fastest.

    Raises:
        UserError: if a value is out of range.
    """

    SHARES: ClassVar = {"test": 0.4, "val": 0.15, "reward": 0.15}

    def __init__(
        self,
        resolution: int = 16,
        batch_size: BatchSize = 64,
        difficulty: Difficulty = Difficulty(),
        copies: int = 8,
        train_copies: int = 0,
        split_seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(10, resolution, batch_size, num_workers)
        self.difficulty, self.split_seed = difficulty, split_seed
        self.copies, self.train_copies = copies, train_copies
        check_range("", self, "resolution", least=8, most=64)
        check_range("", self, "copies", least=1)
        check_range("", self, "train_copies", least=0)

    def _images(self, *splits: str, augment: bool) -> ClutteredImages:
        digits, targets = self._digits(splits)
        copies = self.train_copies if augment else self.copies
        seeds = self._seeds(augment, splits, copies * len(targets)) if copies else None
        return ClutteredImages(digits, targets, self.resolution, self.difficulty, seeds)

    def _plain_loader(self, *splits: str) -> DataLoader[LabelledImage]:
        """The fixed training images in their order; UserError where each is drawn anew."""
        if not self.train_copies:
            raise UserError(
                "train_copies is 0, so that training images are drawn anew and no answers to them"
                " can be kept: set train_copies to have a teacher"
            )
        images = self._images(*splits, augment=True)
        return split_loader(images, self.batch_size, self.num_workers, train=False)

    def _seeds(self, augment: bool, splits: tuple[str, ...], number: int) -> list[int]:
        # Training and evaluation images of one split are others.
        known = [*self.SHARES, "weights"]
        numbers = [known.index(split) + len(known) * augment for split in splits]
        rng = np.random.default_rng([self.split_seed, *numbers])
        return rng.integers(2**32, size=number).tolist()
