"""Predictions of a test, ``predictions.csv``: what was said of each image, and how wrong it was.

One row an image: its number in the test split, its name where the data tell it, its class and the
predicted one, the probability of that, and the cross-entropy in nats. No torch.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin

from supernet.errors import UserError, one_line
from supernet.files.reading import read_text
from supernet.files.writing import write_atomic

PREDICTIONS, WORST = "predictions.csv", "worst.png"
TILE = 112
"""Side of each image of worst.png, px."""
COLUMNS = 6
"""Images in a row of it."""
_NUMBERS = "numbers"
"""Name of the text of worst.png that tells the numbers of its images."""


class Prediction(NamedTuple):
    """What was said of an image."""

    number: int
    """Place in the test split, from 0."""
    image: str
    """Path or name; empty where the data tell none."""
    label: int
    prediction: int
    probability: float
    """Of the predicted class."""
    loss: float
    """Cross-entropy in nats: minus the logarithm of the true class's probability."""


def write_predictions(path: Path, rows: Sequence[Prediction]) -> None:
    """Write a file of predictions.

    Raises:
        UserError: when it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(Prediction._fields)
    writer.writerows((*row[:4], f"{row.probability:.6g}", f"{row.loss:.6g}") for row in rows)
    write_atomic(path, text.getvalue().encode())


def read_predictions(path: Path) -> list[Prediction]:
    """Read it.

    Raises:
        UserError: when it cannot be read, or a line is none of a prediction.
    """
    reader = csv.reader(read_text(path, "test the run again").splitlines())
    try:
        header = next(reader, [])
        if tuple(header) != Prediction._fields:
            raise ValueError(f"the columns must be {', '.join(Prediction._fields)}")
        return [_prediction(*row) for row in reader]
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(
            f"{path.name}, line {reader.line_num}, is broken ({one_line(error)}): test the run"
            " again"
        ) from None


def _prediction(
    number: str, image: str, label: str, prediction: str, probability: str, loss: str
) -> Prediction:
    numbers = int(number), int(label), int(prediction)
    if min(numbers) < 0:
        raise ValueError("a number is below 0")
    return Prediction(numbers[0], image, *numbers[1:], float(probability), float(loss))


class Confusion:
    """How many images of each class were taken for which.

    Raises:
        UserError: when a row names a class that there is not.
    """

    def __init__(self, rows: Sequence[Prediction], num_classes: int) -> None:
        """Count."""
        most = max((max(row.label, row.prediction) for row in rows), default=0)
        if most >= num_classes:
            raise UserError(
                f"{PREDICTIONS} names the class {most}, but there are {num_classes}: test the run"
                " again"
            )
        self.num_classes = num_classes
        # Pairs, since of a matrix of 20,000 classes nearly all is empty.
        self.pairs = Counter((row.label, row.prediction) for row in rows)
        self.images = Counter(row.label for row in rows)
        """Images of each class that has any."""
        self.named = Counter(row.prediction for row in rows)
        """Images that each class was named for."""

    @property
    def counts(self) -> np.ndarray:
        """The matrix (C, C), true classes in rows."""
        counts = np.zeros((self.num_classes, self.num_classes), dtype=int)
        for pair, number in self.pairs.items():
            counts[pair] = number
        return counts

    def accuracy(self, label: int) -> float:
        """Share of a class's images that are told right."""
        return self.pairs[label, label] / self.images[label]

    @property
    def wrong(self) -> list[tuple[tuple[int, int], int]]:
        """Pairs of true class and another one that was named, the most frequent first."""
        return [item for item in self.pairs.most_common() if item[0][0] != item[0][1]]


def write_worst(path: Path, images: Sequence[tuple[int, Image.Image]]) -> None:
    """Write numbered images as one PNG, in rows, with their numbers in its text.

    Raises:
        UserError: when it cannot be written.
    """
    lines = -(-len(images) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * TILE, lines * TILE), "white")
    for place, (_, image) in enumerate(images):
        y, x = divmod(place, COLUMNS)
        page.paste(image.convert("RGB").resize((TILE, TILE)), (x * TILE, y * TILE))
    text = PngImagePlugin.PngInfo()
    text.add_text(_NUMBERS, json.dumps([number for number, _ in images]))
    buffer = io.BytesIO()
    page.save(buffer, "PNG", pnginfo=text)
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, buffer.getvalue())


def read_worst(path: Path) -> dict[int, bytes]:
    """The images of worst.png as files of their own, by their numbers; none where it is none."""
    try:
        with Image.open(path) as page:
            numbers = json.loads(page.info[_NUMBERS])
            return {int(one): _tile(page, place) for place, one in enumerate(numbers)}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _tile(page: Image.Image, place: int) -> bytes:
    y, x = divmod(place, COLUMNS)
    buffer = io.BytesIO()
    page.crop((x * TILE, y * TILE, (x + 1) * TILE, (y + 1) * TILE)).save(buffer, "PNG")
    return buffer.getvalue()
