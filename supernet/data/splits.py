"""Splits: images dealt to weights, reward, validation and test.

*weights* trains the supernet, *reward* scores candidates for the controller, *val* chooses, *test*
is read once, at the end. Retraining uses weights + reward.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence, Sized
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from supernet.errors import UserError, check_range

LabelledImage = tuple[Tensor, int]
"""An image (3, R, R), normalised in float32 or pixels in uint8, and its class."""
Batch = tuple[Tensor, Tensor]
"""Images (B, 3, R, R), likewise, and their classes (B,)."""


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


def known_labels(dataset: Dataset[Any]) -> Sequence[int] | None:
    """Classes that a data set keeps in ``targets`` or ``labels``, None where none are kept there.

    Raises:
        TypeError: or ValueError, if they are no whole numbers.
    """
    if isinstance(dataset, Subset):
        labels = known_labels(dataset.dataset)
        return labels and [labels[index] for index in dataset.indices]
    for name in ("targets", "labels"):
        if hasattr(dataset, name):
            return [int(label) for label in getattr(dataset, name)]
    return None


def check_labels(dataset: Dataset[Any], num_classes: int, name: str, trained_on: bool) -> None:
    """Refuse labels that are no class, or all one class where a network is to learn from them.

    Labels that the data set does not keep are seen by no one before they are read.

    Args:
        dataset: of images of one class each; that of others, such as boxes, keeps no labels.
        num_classes: classes of the data.
        name: what the images are for, in the error.
        trained_on: whether a network learns from them.

    Raises:
        UserError: naming the label.
    """
    try:
        labels = known_labels(dataset)
    except (TypeError, ValueError, RuntimeError):
        return
    if not labels:
        return
    least, most = min(labels), max(labels)
    for label in (least, most):
        if not 0 <= label < num_classes:
            raise UserError(
                f"a {name} image of {type(dataset).__name__} has the label {label}, but the"
                f" datamodule has num_classes {num_classes}, so that labels are 0 to"
                f" {num_classes - 1}: correct the labels or num_classes"
            )
    if trained_on and least == most:
        raise UserError(
            f"all {len(labels):,} {name} images have the label {least}: a network learns nothing"
            " from one class: give images of at least two"
        )


def labels_of(dataset: Dataset[Any]) -> Sequence[int]:
    """Classes of all samples, read one by one where the data set does not keep them.

    Raises:
        UserError: if they are no whole numbers.
    """
    try:
        labels = known_labels(dataset)
        if labels is not None:
            return labels
        with isolate_rng(include_cuda=False):
            return [int(dataset[index][1]) for index in range(num_images(dataset))]
    except UserError:
        raise
    except (TypeError, ValueError, LookupError) as error:
        raise UserError(
            f"{type(dataset).__name__} has no integer labels to split by: give it `targets`, or the"
            " datamodule weights_dataloader() and reward_dataloader()"
        ) from error


def num_images(dataset: Dataset[Any]) -> int:
    """Number of images of a data set; torch's type has no length, as a stream has none."""
    assert isinstance(dataset, Sized)
    return len(dataset)


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


BatchSize = int | Literal["auto"]
"""Images per batch and process; auto: the most that a training finds to fit into memory."""
PROVISIONAL = 64
"""Images of a batch until they are found, and where nothing is trained."""


class ImageSplits(pl.LightningDataModule):
    """Four splits of one data set of square images, and the loaders over them.

    Raises:
        UserError: if ``batch_size`` (per process) or ``num_workers`` (per loader) is out of range.
    """

    def __init__(
        self, num_classes: int, resolution: int, batch_size: BatchSize, num_workers: int
    ) -> None:
        super().__init__()
        self.num_classes, self.resolution = num_classes, resolution
        self.stem_stride = default_stem_stride(resolution)
        self.finds_batch_size = batch_size == "auto"
        self.batch_size = PROVISIONAL if batch_size == "auto" else batch_size
        self.num_workers = num_workers
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

    def plain_train_dataloader(self) -> DataLoader[LabelledImage]:
        """All training images in the order of ``train_dataloader``'s data set, not augmented."""
        return self._plain_loader("weights", "reward")

    def plain_weights_dataloader(self) -> DataLoader[LabelledImage]:
        """Those of ``weights_dataloader`` in the order of its data set, not augmented."""
        return self._plain_loader("weights")

    def _plain_loader(self, *splits: str) -> DataLoader[LabelledImage]:
        return self._loader(*splits, train=False)

    def val_dataloader(self) -> DataLoader[LabelledImage]:
        """The images that make the final choice."""
        return self._loader("val", train=False)

    def test_dataloader(self) -> DataLoader[LabelledImage]:
        """The images that are read once, at the end."""
        return self._loader("test", train=False)
