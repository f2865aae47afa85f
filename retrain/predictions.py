"""Predictions of a test: what is said of each image, kept for tables and the report of the run."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2.functional import to_pil_image

from supernet.data.images.image_index import printable
from supernet.data.run_data import RunData
from supernet.data.splits import Batch
from supernet.data_description import Preprocessing
from supernet.report.predictions import (
    PREDICTIONS,
    WORST,
    Prediction,
    write_predictions,
    write_worst,
)
from supernet.run.distributed import gather_objects

NUM_WORST = 24
"""Test images of the highest loss that are kept as pictures."""
Shown = tuple[float, int, Tensor]
"""Loss of a test image, its number, and its pixels (3, R, R)."""


class TestPredictions(pl.Callback):
    """Writes ``predictions.csv`` and ``figures/worst.png`` of a classifier's test."""

    __test__ = False  # not a test, whatever pytest makes of its name

    def __init__(self, folder: Path) -> None:
        """``folder`` is the run folder."""
        self.folder = folder
        self._rows: list[Prediction] = []
        """Of this process's images, without their names."""
        self._worst: list[Shown] = []

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin anew."""
        self._rows, self._worst = [], []

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take the logits (B, classes) of a batch, if the network is a classifier."""
        if not isinstance(outputs, Tensor):
            return
        images, labels = batch
        logits = outputs.float()
        losses = functional.cross_entropy(logits, labels, reduction="none").tolist()
        likely = logits.softmax(1).max(1)
        # This process has every world_size-th image of the test split (sharded).
        first, stride = trainer.global_rank, trainer.world_size
        numbers = [first + stride * (len(self._rows) + place) for place in range(len(labels))]
        columns = (labels.tolist(), likely.indices.tolist(), likely.values.tolist(), losses)
        for number, *values in zip(numbers, *columns, strict=True):
            self._rows.append(Prediction(number, "", *values))
        self._keep_worst(list(zip(losses, numbers, images, strict=True)))

    def _keep_worst(self, more: list[Shown]) -> None:
        limit = self._worst[-1] if len(self._worst) == NUM_WORST else None
        worse = [one for one in more if limit is None or _rank(one) < _rank(limit)]
        # Of their own: what is left of a batch would keep all of it.
        own = [(loss, number, image.cpu().clone()) for loss, number, image in worse]
        self._worst = sorted([*self._worst, *own], key=_rank)[:NUM_WORST]

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gather what all processes have seen, and write it on one."""
        rows = sorted(gather_objects(self._rows))
        worst = sorted(gather_objects(self._worst), key=_rank)[:NUM_WORST]
        self._rows, self._worst = [], []
        if not rows or not trainer.is_global_zero:
            return
        data: Any = getattr(trainer, "datamodule", None)
        write_predictions(self.folder / PREDICTIONS, named(rows, data))
        told = data.preprocessing if isinstance(data, RunData) else None
        pictures = [(number, picture_of(image, told)) for _, number, image in worst]
        write_worst(self.folder / "figures" / WORST, pictures)


def _rank(one: Shown) -> tuple[float, int]:
    """Place among others: the highest loss first, of equal ones the first image."""
    return -one[0], one[1]


def named(rows: list[Prediction], data: Any) -> list[Prediction]:
    """Rows with the names of their images, where records tell them in the order of the split.

    Records of other labels at these places are in another order, and name nothing.
    """
    records = data.test_records() if isinstance(data, RunData) else None
    known = dict(enumerate(records or ()))
    if not all(row.number in known and known[row.number].label == row.label for row in rows):
        return rows
    return [row._replace(image=printable(known[row.number].path)) for row in rows]


def picture_of(image: Tensor, told: Preprocessing | None) -> Image.Image:
    """A normalised image (3, R, R) as a picture."""
    return to_pil_image(pixels_of(image, told).mul(255).round().byte())


def pixels_of(image: Tensor, told: Preprocessing | None) -> Tensor:
    """A normalised image (3, R, R) as it was, or between its least and largest value.

    Args:
        image: whose pixels will lie from 0 to 1.
        told: how images were normalised; None where the data do not tell.
    """
    if told is None:
        image = (image - image.min()) / (image.max() - image.min()).clamp(min=1e-6)
    else:
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (told.mean, told.std))
        image = image * std + mean
    return image.clamp(0, 1)
