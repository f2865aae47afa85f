"""Splits: images dealt to weights, reward, validation and test.

*weights* trains the supernet, *reward* scores candidates for the controller, *val* chooses, *test*
is read once, at the end. Retraining uses weights + reward.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from supernet.errors import UserError, check_range


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
        self.num_classes = num_classes
        self.resolution = resolution
        self.stem_stride = default_stem_stride(resolution)
        self.batch_size = batch_size
        self.num_workers = num_workers
        check_range("", self, "batch_size", least=1)
        check_range("", self, "num_workers", least=0)

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


Sample = tuple[Tensor, int]
"""A normalised float32 image (3, R, R) and its class."""
Batch = tuple[Tensor, Tensor]
"""Images (B, 3, R, R) and their classes (B,)."""
