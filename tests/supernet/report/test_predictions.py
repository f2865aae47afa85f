"""Predictions of a test: written and read again, counted, and the worst images kept apart."""

import random

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, precision_score

from supernet.errors import UserError
from supernet.report.predictions import (
    TILE,
    Confusion,
    Prediction,
    read_predictions,
    read_worst,
    write_predictions,
    write_worst,
)

NAMES = ["a, b.jpg", 'c"d".jpg', "", "größe/é.png"]


def some_predictions(number: int, num_classes: int) -> list[Prediction]:
    rng = random.Random(0)
    return [
        Prediction(i, NAMES[i % 4], rng.randrange(num_classes), rng.randrange(num_classes), 0.5, i)
        for i in range(number)
    ]


def test_predictions_are_read_as_they_were_written(tmp_path):
    rows = some_predictions(20, 3)
    write_predictions(tmp_path / "predictions.csv", rows)
    assert read_predictions(tmp_path / "predictions.csv") == rows


BROKEN = ["1,a,0,0,1", "1,a,x,0,1,1", "1,a,-1,0,1,1"]


@pytest.mark.parametrize("text", ["", "number,label\n", *(f"{{header}}{row}\n" for row in BROKEN)])
def test_a_broken_line_is_named(tmp_path, text):
    path = tmp_path / "predictions.csv"
    path.write_text(text.format(header=",".join(Prediction._fields) + "\n"))
    with pytest.raises(UserError, match=r"predictions\.csv, line .* is broken"):
        read_predictions(path)


def test_confusion_and_its_shares_are_those_of_scikit_learn():
    rows = some_predictions(200, 4)
    labels, named = ([getattr(row, name) for row in rows] for name in ("label", "prediction"))
    confusion = Confusion(rows, 5)
    assert np.array_equal(confusion.counts, confusion_matrix(labels, named, labels=range(5)))
    shares = precision_score(labels, named, average=None)
    for label in range(4):
        right = confusion.pairs[label, label]
        assert right / confusion.named[label] == pytest.approx(shares[label])
        true = [row.prediction == label for row in rows if row.label == label]
        assert confusion.accuracy(label) == pytest.approx(np.mean(true))
    wrong = [images for _, images in confusion.wrong]
    assert wrong == sorted(wrong, reverse=True)
    assert sum(wrong) == sum(row.label != row.prediction for row in rows)


def test_a_class_that_there_is_not_is_refused():
    with pytest.raises(UserError, match="names the class 1000000000, but there are 3"):
        Confusion([Prediction(0, "", 0, 10**9, 0.5, 1.0)], 3)


def test_worst_images_keep_their_numbers_and_their_pixels(tmp_path):
    images = [(9 - i, Image.new("RGB", (5, 5), (25 * i, 0, 200))) for i in range(8)]
    path = tmp_path / "figures" / "worst.png"
    write_worst(path, images)
    read = read_worst(path)
    assert [*read] == [number for number, _ in images]
    for number, image in images:
        (tmp_path / "one.png").write_bytes(read[number])
        with Image.open(tmp_path / "one.png") as one:
            assert one.size == (TILE, TILE)
            assert one.getcolors() == [(TILE * TILE, image.getpixel((0, 0)))]


def test_a_picture_without_numbers_holds_no_worst_images(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "worst.png")
    assert read_worst(tmp_path / "worst.png") == {}
    assert read_worst(tmp_path / "none.png") == {}
