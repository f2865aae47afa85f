"""Images for search and retraining: ``Digits`` (embedded) and ``ImageFolder`` (your own).

Both deal their images to four parts: *weights* trains the supernet, *reward* scores candidates for
the controller, *val* chooses, *test* is read once, at the end. Retraining uses weights + reward.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from supernet.errors import UserError
from supernet.images import DigitImages, ImageFiles, Sample, class_names, image_files


def default_stem_stride(resolution: int) -> int:
    """Stride of the stem convolution: 1 up to 64 px, else 2.

    The networks halve the image five times, stem included (MnasNet, fig. 7), which would leave at
    most 2x2 px of 64 to the last stages; so small images keep their size in the stem.
    """
    return 1 if resolution <= 64 else 2


def stratified_split(
    labels: Sequence[int], shares: Sequence[float], seed: int, names: Sequence[str] = ()
) -> list[list[int]]:
    """Deals the indices of every class to ``len(shares) + 1`` disjoint parts.

    Args:
        labels: the class of each sample.
        shares: share of each class in each part but the last, which gets the rest; a part gets at
            least one sample of every class.
        seed: the only source of randomness.
        names: class names, for the error message.

    Returns:
        Sorted indices into ``labels``, one list for each share and one for the rest.

    Raises:
        UserError: if a class has too few samples to appear in every part.
    """
    rng = np.random.default_rng(seed)
    parts: list[list[int]] = [[] for _ in range(len(shares) + 1)]
    order = np.argsort(labels, kind="stable")
    _, starts = np.unique(np.asarray(labels)[order], return_index=True)
    for start, end in pairwise([*starts, len(order)]):
        label = labels[order[start]]
        sizes = [max(1, round(share * (end - start))) for share in shares]
        if sum(sizes) >= end - start:
            raise UserError(
                f"class {names[label] if names else label} has {end - start} image(s), too few for"
                f" {len(parts)} parts with shares {list(shares)} and the rest: add images, lower"
                " the shares or remove the class"
            )
        members = rng.permutation(order[start:end])
        for part, chunk in zip(parts, np.split(members, np.cumsum(sizes)), strict=True):
            part.extend(chunk.tolist())
    return [sorted(part) for part in parts]


class ImageParts(pl.LightningDataModule):
    """What both modules share: four parts of one data set, and the loaders over them."""

    def __init__(
        self, num_classes: int, resolution: int, batch_size: int, num_workers: int
    ) -> None:
        super().__init__()
        if batch_size < 1 or num_workers < 0:
            raise UserError(
                f"batch_size must be at least 1 and num_workers at least 0,"
                f" got {batch_size} and {num_workers}"
            )
        self.num_classes = num_classes
        self.resolution = resolution
        self.stem_stride = default_stem_stride(resolution)
        self.batch_size = batch_size
        self.num_workers = num_workers

    @abstractmethod
    def _images(self, *parts: str, augment: bool) -> Dataset[Sample]:
        """The images of these parts together."""

    def _loader(self, *parts: str, train: bool) -> DataLoader[Sample]:
        return DataLoader(
            self._images(*parts, augment=train),
            batch_size=self.batch_size,
            shuffle=train,
            drop_last=train,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def train_dataloader(self) -> DataLoader[Sample]:
        """All training images (weights + reward), augmented."""
        return self._loader("weights", "reward", train=True)

    def weights_dataloader(self) -> DataLoader[Sample]:
        """The training images that train a supernet's weights, augmented."""
        return self._loader("weights", train=True)

    def reward_dataloader(self) -> DataLoader[Sample]:
        """The training images that score a search's candidates, not augmented."""
        return self._loader("reward", train=False)

    def val_dataloader(self) -> DataLoader[Sample]:
        """The images that make the final choice."""
        return self._loader("val", train=False)

    def test_dataloader(self) -> DataLoader[Sample]:
        """The images that are read once, at the end."""
        return self._loader("test", train=False)


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
        self,
        resolution: int = 16,
        batch_size: int = 64,
        split_seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        if not 8 <= resolution <= 32:
            raise UserError(f"digits have a resolution of 8 to 32 px, got {resolution}")
        super().__init__(10, resolution, batch_size, num_workers)
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


class ImageFolder(ImageParts):
    """Your own images, one folder per class: ``root/CLASS/*.jpg`` or ``root/train/CLASS/*.jpg``.

    With a folder ``train`` (and nothing beside it but ``val`` and ``test``), the parts that are
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
        if resolution < 8 or min(std) <= 0:
            raise UserError(
                f"resolution must be at least 8 px and std above 0, got {resolution} and {std}"
            )
        self.root = Path(root).expanduser()
        self._folders = _part_folders(self.root)
        self.classes = class_names(self._folders["train"])
        super().__init__(len(self.classes), resolution, batch_size, num_workers)
        self._shares = {part: s for part, s in shares.items() if part not in self._folders}
        self.split_seed = split_seed
        self._to_tensor = [
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(mean), list(std)),
        ]

    @cached_property
    def _files(self) -> dict[str, list[tuple[str, int]]]:
        """Paths and classes of the images of each part."""
        files = {part: image_files(f, self.classes) for part, f in self._folders.items()}
        train = files.pop("train")
        dealt = stratified_split(
            [label for _, label in train],
            list(self._shares.values()),
            self.split_seed,
            self.classes,
        )
        for part, indices in zip([*self._shares, "weights"], dealt, strict=True):
            files[part] = [train[index] for index in indices]
        return files

    def _images(self, *parts: str, augment: bool) -> ImageFiles:
        files = [file for part in parts for file in self._files[part]]
        size = self.resolution
        if augment:
            crop: list[torch.nn.Module] = [
                v2.RandomResizedCrop(size, scale=(0.08, 1), ratio=(3 / 4, 4 / 3)),
                v2.RandomHorizontalFlip(),
            ]
        else:
            resize = v2.Resize(round(size / 0.875), interpolation=v2.InterpolationMode.BICUBIC)
            crop = [resize, v2.CenterCrop(size)]
        return ImageFiles(files, v2.Compose([*crop, *self._to_tensor]))


def _part_folders(root: Path) -> dict[str, Path]:
    """The folder of each part that has its own; ``train`` is ``root`` itself if none has."""
    names = {f.name for f in root.iterdir() if f.is_dir()} if root.is_dir() else set()
    names = {name for name in names if not name.startswith(".")}
    if "train" in names and names <= {"train", "val", "test"}:
        return {name: root / name for name in sorted(names)}
    return {"train": root}
