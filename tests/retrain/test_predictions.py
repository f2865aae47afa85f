"""What a test keeps of its images: every prediction, the names, and the pictures of the worst."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from retrain.predictions import NUM_WORST, TestPredictions, named, picture_of
from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from supernet.data_description import Preprocessing
from supernet.report.predictions import Prediction, read_predictions, read_worst, write_predictions


@pytest.fixture
def data():
    found = RunData(Digits(resolution=8), role="retrain", seed=0)
    found.inner.prepare_data()
    found.inner.setup("test")
    return found


def rows_of(data):
    labels = [record.label for record in data.test_records()]
    return [Prediction(number, "", label, 0, 0.5, 1.0) for number, label in enumerate(labels)]


def test_images_are_named_by_the_records_of_their_places(data):
    targets = data.inner.test_dataloader().dataset
    rows = named(rows_of(data), data)
    records = data.test_records()
    assert [row.image for row in rows] == [record.path for record in records]
    assert [row.label for row in rows] == [int(targets[i][1]) for i in range(len(rows))]


def test_records_in_another_order_name_nothing(data, monkeypatch):
    rows, records = rows_of(data), data.test_records()
    monkeypatch.setattr(data, "test_records", lambda: records[::-1])
    assert named(rows, data) == rows
    assert named(rows, None) == rows


def test_a_name_that_is_no_text_is_written_as_its_bytes(data, monkeypatch, tmp_path):
    records = data.test_records()
    odd = [replace(records[0], path="cats/\udcff.png"), *records[1:]]
    monkeypatch.setattr(data, "test_records", lambda: odd)
    rows = named(rows_of(data), data)
    write_predictions(tmp_path / "predictions.csv", rows)
    assert read_predictions(tmp_path / "predictions.csv") == rows
    assert rows[0].image == r"cats/\udcff.png"


def test_a_picture_is_the_image_before_it_was_normalised():
    pixels = torch.arange(192, dtype=torch.uint8).view(3, 8, 8)
    told = Preprocessing(8, 8, "bilinear", (0.3, 0.4, 0.5), (0.2, 0.3, 0.4))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (told.mean, told.std))
    picture = picture_of((pixels / 255 - mean) / std, told)
    assert np.array_equal(np.asarray(picture), pixels.permute(1, 2, 0))
    unknown = np.asarray(picture_of(torch.randn(3, 8, 8), None))
    assert (unknown.min(), unknown.max()) == (0, 255)


def test_every_image_is_told_and_the_worst_are_kept(tmp_path):
    torch.manual_seed(0)
    images, labels, logits = torch.randn(90, 3, 4, 4), torch.arange(90) % 3, torch.randn(90, 3)
    trainer = SimpleNamespace(global_rank=0, world_size=1, is_global_zero=True, datamodule=None)
    callback = TestPredictions(tmp_path)
    callback.on_test_start(trainer, None)
    for i in range(0, 90, 20):
        part = slice(i, i + 20)
        batch = (images[part], labels[part])
        callback.on_test_batch_end(trainer, None, logits[part], batch, i // 20)
    callback.on_test_end(trainer, None)

    rows = read_predictions(tmp_path / "predictions.csv")
    losses = functional.cross_entropy(logits, labels, reduction="none")
    assert [row.number for row in rows] == [*range(90)]
    assert [row.prediction for row in rows] == logits.argmax(1).tolist()
    assert [row.loss for row in rows] == pytest.approx(losses.tolist(), rel=1e-4)
    worst = read_worst(tmp_path / "figures" / "worst.png")
    assert [*worst] == losses.argsort(descending=True)[:NUM_WORST].tolist()


def test_a_detector_has_no_predictions_of_classes(tmp_path):
    trainer = SimpleNamespace(global_rank=0, world_size=1, is_global_zero=True, datamodule=None)
    callback = TestPredictions(tmp_path)
    callback.on_test_batch_end(trainer, None, None, ([], []), 0)
    callback.on_test_end(trainer, None)
    assert not list(tmp_path.iterdir())
