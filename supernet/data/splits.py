"""Splits: images dealt to weights, reward, validation and test.

*weights* trains the supernet, *reward* scores candidates for the controller, *val* chooses, *test*
is read once, at the end. Retraining uses weights + reward.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from supernet.errors import UserError, check_range

LabelledImage = tuple[Tensor, int]
"""A normalised float32 image (3, R, R) and its class."""
Batch = tuple[Tensor, Tensor]
"""Images (B, 3, R, R) and their classes (B,)."""


def default_stem_stride(resolution: int) -> int:
    """Stride of the stem convolution: 1 up to 64 px, else 2.

    The networks halve the image five times, stem included (MnasNet, fig. 7), which would leave at
    most 2x2 px of 64 to the last stages; so small images keep their size in the stem.
    """
    return 1 if resolution <= 64 else 2


def stratified_split(
    labels: Sequence[int], shares: Mapping[str, float], seed: int, names: Sequence[str] = ()
) -> dict[str, list[int]]:
    """Indices of every class, dealt to disjoint splits.

    A split gets its share of every class, at least one image; ``weights``, which has none, gets
    the rest. ``seed`` is the only source of randomness, ``names`` those of the classes in an error.

    Returns:
        Sorted indices into ``labels``, by split.

    Raises:
        UserError: if a class has too few images to appear in every split.
    """
    rng = np.random.default_rng(seed)
    splits: dict[str, list[int]] = {name: [] for name in (*shares, "weights")}
    order = np.argsort(labels, kind="stable")
    _, starts = np.unique(np.asarray(labels)[order], return_index=True)
    for start, end in pairwise([*starts, len(order)]):
        label = labels[order[start]]
        sizes = [max(1, round(share * (end - start))) for share in shares.values()]
        if sum(sizes) >= end - start:
            raise UserError(
                f"class {names[label] if names else label} has {end - start} image(s), too few for"
                f" {len(splits)} splits with shares {list(shares.values())} and the rest: add"
                " images, lower the shares or remove the class"
            )
        members = rng.permutation(order[start:end])
        for split, dealt in zip(splits.values(), np.split(members, np.cumsum(sizes)), strict=True):
            split.extend(dealt.tolist())
    return {name: sorted(split) for name, split in splits.items()}


def split_loader(
    images: Dataset[Any],
    batch_size: int,
    num_workers: int,
    train: bool,
    collate_fn: Callable[[list[Any]], Any] | None = None,
) -> DataLoader[Any]:
    """The loader of a split: shuffled whole batches to train on, else all images in order."""
    return DataLoader(
        images,
        batch_size=batch_size,
        shuffle=train,
        drop_last=train,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        collate_fn=collate_fn,
    )


class ImageSplits(pl.LightningDataModule):
    """Four splits of one data set of square images, and the loaders over them.

    Raises:
        UserError: if ``batch_size`` (per process) or ``num_workers`` (per loader) is out of range.
    """

    def __init__(
        self, num_classes: int, resolution: int, batch_size: int, num_workers: int
    ) -> None:
        super().__init__()
        self.num_classes, self.resolution = num_classes, resolution
        self.stem_stride = default_stem_stride(resolution)
        self.batch_size, self.num_workers = batch_size, num_workers
        check_range("", self, "batch_size", least=1)
        check_range("", self, "num_workers", least=0, most=1024)

    @abstractmethod
    def _images(self, *splits: str, augment: bool) -> Dataset[LabelledImage]:
        """The images of these splits together."""

    def _loader(self, *splits: str, train: bool) -> DataLoader[LabelledImage]:
        images = self._images(*splits, augment=train)
        return split_loader(images, self.batch_size, self.num_workers, train)

    def train_dataloader(self) -> DataLoader[LabelledImage]:
        """All training images (weights + reward), augmented."""
        return self._loader("weights", "reward", train=True)

    def weights_dataloader(self) -> DataLoader[LabelledImage]:
        """The training images that train a supernet's weights, augmented."""
        return self._loader("weights", train=True)

    def reward_dataloader(self) -> DataLoader[LabelledImage]:
        """The training images that score a search's candidates, not augmented."""
        return self._loader("reward", train=False)

    def val_dataloader(self) -> DataLoader[LabelledImage]:
        """The images that make the final choice."""
        return self._loader("val", train=False)

    def test_dataloader(self) -> DataLoader[LabelledImage]:
        """The images that are read once, at the end."""
        return self._loader("test", train=False)
