"""Cluttered digits: the embedded digits, made hard enough that networks differ. No download.

A digit is turned, scaled and placed at random among fragments of other digits and noise (after
"cluttered MNIST": Mnih et al. 2014, "Recurrent models of visual attention", sec. 4.1). No source
digit serves in two parts of the data, not even as a fragment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from supernet.data.digits import source_digits
from supernet.data.splits import ImageParts, Sample, stratified_split
from supernet.errors import check_range

NUM_DRAWS = 6
"""Uniform numbers of each digit and fragment: angle, side, x, y, and direction and place of the
cut."""


@dataclass(frozen=True)
class Difficulty:
    """How far an image is from the digit in it.

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
        """Refuse what cannot be drawn."""
        check_range("difficulty.", self, "rotation", least=0, most=180)
        check_range("difficulty.", self, "smallest", above=0, most=1)
        check_range("difficulty.", self, "largest", least=self.smallest, most=1)
        check_range("difficulty.", self, "fragments", "noise", least=0)


class ClutteredImages(Dataset[Sample]):
    """Images of cluttered digits as three identical channels, each a function of its seed.

    Args:
        digits: float32 (N, 1, 8, 8) between 0 (background) and 1: the sources, of fragments too.
        targets: N classes.
        resolution: side R of the images, px.
        difficulty: how they are cluttered.
        seeds: of images that never change, a multiple of N: image ``i`` shows digit ``i % N``.
            Without them there are N images, drawn anew each time.
    """

    MEAN, STD = 0.22, 0.31
    """Of the pixels at the default difficulty and 16 px."""

    def __init__(
        self,
        digits: Tensor,
        targets: Sequence[int],
        resolution: int,
        difficulty: Difficulty,
        seeds: Sequence[int] | None = None,
    ) -> None:
        self.digits = digits
        self.resolution = resolution
        self.difficulty = difficulty
        self.seeds = seeds
        number = len(targets) if seeds is None else len(seeds)
        self.targets = [targets[index % len(targets)] for index in range(number)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Sample:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Sample]:
        """A batch; torch's global generator seeds the images that change."""
        # Evaluation must not advance the generator that training draws from.
        drawn = torch.randint(2**32, (len(indices),)).tolist() if self.seeds is None else []
        return self.seeded_items(indices, drawn)

    def seeded_items(self, indices: list[int], seeds: list[int]) -> list[Sample]:
        """A batch in which each image depends on its own seed only, whatever lies beside it."""
        if self.seeds is not None:
            seeds = [self.seeds[index] for index in indices]
        images = self._render([index % len(self.digits) for index in indices], seeds)
        images = ((images - self.MEAN) / self.STD).expand(-1, 3, -1, -1)
        return list(zip(images.unbind(), [self.targets[i] for i in indices], strict=True))

    def _render(self, sources: list[int], seeds: list[int]) -> Tensor:
        """Images (B, 1, R, R) of source digits."""
        draws, fragments, noise = self._draw(seeds)
        chosen = torch.cat([torch.tensor(sources)[:, None], fragments], 1)
        shapes = self.digits[chosen][:, :, 0]
        shapes[:, 1:] = _cut(shapes[:, 1:], *draws[:, 1:, 4:].unbind(-1))
        placed = _placed(shapes, *self._geometry(draws), self.resolution)
        return placed.amax(1, keepdim=True) + self.difficulty.noise * noise

    def _draw(self, seeds: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Uniform (B, 1 + F, NUM_DRAWS), sources of fragments (B, F), noise (B, 1, R, R)."""
        pieces, shape = self.difficulty.fragments, (1, self.resolution, self.resolution)
        generator, drawn = torch.Generator(), []
        for seed in seeds:
            generator.manual_seed(seed)
            drawn.append(
                (
                    torch.rand(1 + pieces, NUM_DRAWS, generator=generator),
                    torch.randint(len(self.digits), (pieces,), generator=generator),
                    torch.randn(shape, generator=generator),
                )
            )
        uniform, fragments, noise = map(torch.stack, zip(*drawn, strict=True))
        return uniform, fragments, noise

    def _geometry(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Angles (radians), sides (shares of the image) and centres (in [-1, 1]) of all shapes."""
        level = self.difficulty
        limit = torch.full(draws.shape[1:2], math.pi)
        limit[0] = math.radians(level.rotation)
        angle = limit * (2 * draws[..., 0] - 1)
        side = level.smallest + (level.largest - level.smallest) * draws[..., 1]
        # The digit lies inside the image; a fragment may leave it.
        room = torch.cat([1 - side[:, :1], torch.ones_like(side[:, 1:])], 1)
        return angle, side, (2 * draws[..., 2:4] - 1) * room[..., None]


def _cut(shapes: Tensor, direction: Tensor, place: Tensor) -> Tensor:
    """Keeps of each shape (B, F, H, H) what lies beyond a line: a sixth to half of its square.

    Args:
        shapes: digits.
        direction: (B, F) in [0, 1), of a whole turn.
        place: (B, F) in [0, 1): how far from the centre the line lies.
    """
    centres = (2 * torch.arange(shapes.shape[-1]) + 1) / shapes.shape[-1] - 1
    turn = 2 * math.pi * direction[..., None, None]
    distance = turn.cos() * centres + turn.sin() * centres[:, None]
    return shapes * (distance > 0.6 * place[..., None, None])


def _placed(shapes: Tensor, angle: Tensor, side: Tensor, centre: Tensor, size: int) -> Tensor:
    """Turned, scaled and moved shapes (B, K, H, H) on images (B, K, size, size)."""
    cos, sin = angle.cos() / side, angle.sin() / side
    inverse = torch.stack([cos, sin, -sin, cos], -1).view(-1, 2, 2)
    offset = -inverse @ centre.reshape(-1, 2, 1)
    grid = F.affine_grid(
        torch.cat([inverse, offset], 2), [len(inverse), 1, size, size], align_corners=False
    )
    images = F.grid_sample(shapes.flatten(0, 1)[:, None], grid, align_corners=False)
    return images.view(*shapes.shape[:2], size, size)


class ClutteredDigits(ImageParts):
    """The embedded digits among clutter: as hard as you like, and networks differ.

    Parts as in ``Digits``, by source digit: test 40 %, val 15 %, reward 15 %, weights the rest;
    fragments come from digits of the same part. Evaluation images are fixed by ``split_seed``;
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
        batch_size: int = 64,
        difficulty: Difficulty = Difficulty(),
        copies: int = 8,
        train_copies: int = 0,
        split_seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(10, resolution, batch_size, num_workers)
        self.difficulty = difficulty
        self.copies, self.train_copies = copies, train_copies
        self.split_seed = split_seed
        check_range("", self, "resolution", least=8, most=64)
        check_range("", self, "copies", least=1)
        check_range("", self, "train_copies", least=0)

    @cached_property
    def _sources(self) -> dict[str, tuple[Tensor, list[int]]]:
        """The digits (N, 1, 8, 8) between 0 and 1 and their classes, by part."""
        digits, targets = source_digits()
        indices = stratified_split(targets, list(self.SHARES.values()), self.split_seed)
        parts = zip([*self.SHARES, "weights"], indices, strict=True)
        return {part: (digits[dealt], [targets[i] for i in dealt]) for part, dealt in parts}

    def _images(self, *parts: str, augment: bool) -> ClutteredImages:
        sources = [self._sources[part] for part in parts]
        images = torch.cat([digits for digits, _ in sources])
        targets = [target for _, classes in sources for target in classes]
        copies = self.train_copies if augment else self.copies
        seeds = self._seeds(augment, parts, copies * len(targets)) if copies else None
        return ClutteredImages(images, targets, self.resolution, self.difficulty, seeds)

    def _seeds(self, augment: bool, parts: tuple[str, ...], number: int) -> list[int]:
        # Training and evaluation images of one part are others.
        known = [*self.SHARES, "weights"]
        numbers = [known.index(part) + len(known) * augment for part in parts]
        rng = np.random.default_rng([self.split_seed, *numbers])
        return rng.integers(2**32, size=number).tolist()
