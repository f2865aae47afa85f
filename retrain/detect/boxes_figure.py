"""Figure of a detector's test: images with the boxes that are there and those that were found."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from retrain.detect.digit_boxes import BoxBatch, Boxes
from retrain.predictions import pixels_of
from supernet.command.output import say
from supernet.display.figures import ACCENT, INK, MUTED, new_figure, save_figure

NUM_IMAGES, COLUMNS = 12, 4
LEAST_SCORE = 0.3
"""Of a found box that is drawn."""
TRUE = "#0F766E"
"""Colour of true boxes; found ones have the accent's."""
EDGE = 8.0
"""Px from the upper edge within which words stand in their box."""
TILE, TOP, GAP = 2.1, 0.45, 0.06
"""Side of an image, room for the title, and paper around each image, in inches."""


@dataclass(frozen=True)
class ShownImage:
    """One image of the page."""

    pixels: Tensor
    """Between 0 and 1 (R, R, 3)."""
    true: Boxes
    found: Boxes


class BoxesFigure(pl.Callback):
    """Draws the first test images into ``figures/boxes.png`` of the run folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "figures" / "boxes.png"
        self._shown: list[ShownImage] = []

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: BoxBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep images until there are enough, on one process."""
        missing = NUM_IMAGES - len(self._shown)
        if missing <= 0 or not trainer.is_global_zero:
            return
        images, targets = batch[0][:missing], batch[1][:missing]
        told = _data(trainer).preprocessing
        for image, true, found in zip(images, targets, pl_module(images), strict=True):
            boxes = [{name: value.cpu() for name, value in one.items()} for one in (true, found)]
            self._shown.append(ShownImage(pixels_of(image.cpu(), told).permute(1, 2, 0), *boxes))

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw them."""
        if self._shown:
            self.path.parent.mkdir(exist_ok=True)
            save_figure(draw_boxes(self._shown, _data(trainer).classes), self.path)
            say(f"boxes of {len(self._shown)} test images: {self.path}")
        self._shown = []


def _data(trainer: Any) -> Any:
    """The run's data; a trainer's own type has no datamodule."""
    return trainer.datamodule


def draw_boxes(images: Sequence[ShownImage], classes: Sequence[str]) -> Figure:
    """A page of images with true boxes and those found boxes whose score suffices."""
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    width, height = max(columns, 2) * TILE, TOP + rows * TILE
    figure = new_figure(width, height)
    for number, image in enumerate(images):
        y, x = divmod(number, columns)
        left, bottom = x * TILE + GAP, height - TOP - (y + 1) * TILE + GAP
        side = TILE - 2 * GAP
        place = (left / width, bottom / height, side / width, side / height)
        _draw_image(figure.add_axes(place), image, classes)
    scores = f"with their scores, from {LEAST_SCORE:g} on"
    heads = ((0.1, "true boxes", TRUE), (0.95, "found boxes", ACCENT), (1.85, scores, MUTED))
    for inches, words, colour in heads:
        figure.text(inches / width, 1 - 0.28 / height, words, fontsize=9, color=colour)
    return figure


def _draw_image(axes: Axes, image: ShownImage, classes: Sequence[str]) -> None:
    side = image.pixels.shape[0]
    axes.imshow(image.pixels.numpy(), interpolation="nearest", extent=(0, side, side, 0))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(INK)
    for box, label in zip(image.true["boxes"], image.true["labels"], strict=True):
        _draw_box(axes, box, TRUE, 2.6)
        _write_words(axes, box[0], box[3], classes[int(label) - 1], TRUE, "top")
    found = image.found
    for box, label, score in zip(found["boxes"], found["labels"], found["scores"], strict=True):
        if score >= LEAST_SCORE:
            _draw_box(axes, box, ACCENT, 1.0)
            words = f"{classes[int(label) - 1]} {score:.2f}"
            _write_words(axes, box[0], box[1], words, ACCENT, "bottom" if box[1] > EDGE else "top")


def _draw_box(axes: Axes, box: Tensor, colour: str, width: float) -> None:
    x1, y1, x2, y2 = box.tolist()
    corner, w, h = (x1, y1), x2 - x1, y2 - y1
    axes.add_patch(Rectangle(corner, w, h, fill=False, color=colour, linewidth=width))


def _write_words(
    axes: Axes, x: Tensor, y: Tensor, words: str, colour: str, side: Literal["top", "bottom"]
) -> None:
    """Words whose top or bottom is at a place in px."""
    axes.text(
        float(x),
        float(y),
        words,
        fontsize=5.5,
        color="white",
        va=side,
        clip_on=True,
        parse_math=False,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
    )
