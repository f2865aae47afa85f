"""A page of augmented samples: an image of each class, and what a training makes of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from matplotlib.figure import Figure
from PIL import Image
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import Dataset

from supernet.data.image_folder import ImageFolder
from supernet.data.resumable import SeededDataset
from supernet.data.splits import labels_of
from supernet.display.sample_page import draw_rows
from supernet.errors import UserError
from supernet.training.augmentation import Augmentation, Pixels, Preset, mixed
from supernet.training.config import read_training

DRAWS, MIXED, CLASSES = 6, 2, 12
"""Columns of images that are augmented, and then mixed; and rows."""
CHANGING = ("resolution", "crop_area", "flip", "mean", "std")


def augmentation_of(named: str, root: Path) -> tuple[Augmentation, dict[str, Any]]:
    """The augmentation of a preset, or of the yaml file of a retraining.

    With it those arguments of the ``ImageFolder`` of the file that change its training images;
    ``root`` is the folder.

    Raises:
        UserError: when it is neither.
    """
    if named.endswith((".yaml", ".yml")):
        training = read_training(named, root=root)
        arguments = training.data["init_args"] if "root" in training.data["init_args"] else {}
        changing = {name: arguments[name] for name in CHANGING if name in arguments}
        return training.recipe.augmentation, changing
    for preset in get_args(Preset):
        if preset == named:
            return Augmentation(preset), {}
    presets = ", ".join(get_args(Preset))
    raise UserError(f"--augmentation is {named!r}: give {presets} or the yaml file of a retraining")


def draw_augmented(data: ImageFolder, augmentation: Augmentation) -> Figure:
    """Rows of classes: the image as in evaluation, augmented some times, and mixed with another."""
    own = data.train_dataloader().dataset
    labels = list(labels_of(own))
    shown = sorted({round(i * (len(data.classes) - 1) / (CLASSES - 1)) for i in range(CLASSES)})
    indices = [labels.index(label) for label in shown]
    plain = data.plain_train_dataloader().dataset
    columns = [torch.stack([plain[index][0] for index in indices])]
    view = augmentation.of_images(own, data.preprocessing)
    mixes = MIXED if augmentation.mixes else 0
    columns += [_drawn(view, indices, seed) for seed in range(DRAWS + mixes)]
    with isolate_rng(include_cuda=False):
        torch.manual_seed(0)
        for column in range(len(columns) - mixes, len(columns)):
            columns[column] = _mixed(augmentation, columns[column])
    pixels = Pixels(data.preprocessing)
    rows: list[tuple[str, Sequence[Image.Image]]] = [
        (data.classes[label], [pixels.read(image) for image in images])
        for label, images in zip(shown, zip(*columns, strict=True), strict=True)
    ]
    mixing = f", {mixes} mixed with one of another class" if mixes else ""
    on = augmentation.words or "nothing but the data set's own"
    return draw_rows(rows, f"the image, {DRAWS} draws{mixing}; {on}")


def _drawn(view: Dataset, indices: Sequence[int], seed: int) -> Tensor:
    """Images (B, 3, R, R) of some indices, each drawn by a seed of its own."""
    seeds = [seed * len(indices) + place for place in range(len(indices))]
    drawn = SeededDataset(view).__getitems__(list(zip(indices, seeds, strict=True)))
    return torch.stack([image for image, *_ in drawn])


def _mixed(augmentation: Augmentation, images: Tensor) -> Tensor:
    """Mixed images (B, 3, R, R), of any number."""
    even = images if len(images) % 2 == 0 else torch.cat([images, images[:1]])
    return mixed(augmentation, even, torch.eye(len(even)))[0][: len(images)]
