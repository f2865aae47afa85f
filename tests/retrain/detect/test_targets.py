"""Targets that datamodules give: what is trained on, and what is refused in one line."""

import pytest
import torch

from retrain.detect.targets import checked_targets
from supernet.errors import UserError
from tests.helpers.detectors import boxes, module_for, trainer_for, write_searched_arch

GOOD = {"boxes": torch.tensor([[0.0, 0.0, 5.0, 5.0]]), "labels": torch.tensor([10])}
NO_BOX = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}


@pytest.mark.parametrize(
    "empty",
    [
        NO_BOX,
        {"boxes": torch.tensor([]), "labels": torch.tensor([])},
        {"boxes": torch.zeros(0, 5), "labels": torch.zeros(0, 1)},
        {"boxes": torch.tensor([]), "labels": torch.zeros(0, dtype=torch.int64), "image_id": 3},
    ],
)
def test_an_empty_target_of_any_shape_is_no_box(empty):
    first, second = checked_targets([GOOD, empty], 10)
    assert {name: value.tolist() for name, value in first.items()} == {
        "boxes": [[0.0, 0.0, 5.0, 5.0]],
        "labels": [10],
    }
    assert (second["boxes"].shape, second["labels"].shape) == ((0, 4), (0,))
    assert second["labels"].dtype == torch.int64


def test_whole_numbers_of_any_type_are_taken():
    given = {"boxes": torch.tensor([[1, 2, 3, 4]]), "labels": torch.tensor([2], dtype=torch.int32)}
    (checked,) = checked_targets([given], 10)
    assert (checked["boxes"].dtype, checked["labels"].dtype) == (torch.float32, torch.int64)


BOX = [1.0, 2.0, 8.0, 9.0]


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        ({"boxes": [BOX], "labels": [0]}, "a box has label 0, allowed are 1 to 10, as 0 is the b"),
        ({"boxes": [BOX], "labels": [11]}, "a box has label 11"),
        ({"boxes": [[8.0, 2.0, 8.0, 9.0]], "labels": [1]}, r"a box is \[8.0, 2.0, 8.0, 9.0\]"),
        ({"boxes": [[1.0, 2.0, float("nan"), 9.0]], "labels": [1]}, r"a box is .*nan.* finite"),
        ({"boxes": [[1.0, 2.0, float("inf"), 9.0]], "labels": [1]}, r"a box is .*inf.* finite"),
        ({"boxes": [[*BOX, 0.5]], "labels": [1]}, r"boxes \(1, 5\) and labels \(1,\)"),
        ({"boxes": BOX, "labels": [1]}, r"boxes \(4,\) and labels \(1,\)"),
        ({"boxes": [BOX, BOX], "labels": [1]}, r"boxes \(2, 4\) and labels \(1,\)"),
        ({"boxes": [], "labels": [1]}, r"boxes \(0, 4\) and labels \(1,\)"),
        ({"boxes": [BOX], "labels": [1.0]}, "labels of boxes are torch.float32"),
        ({"boxes": [BOX]}, "labels of a target are None, no tensor"),
        ({"bboxes": [BOX], "labels": [1]}, "boxes of a target are None, no tensor"),
        ([BOX], "a target is .*, it must be a dictionary"),
    ],
)
def test_targets_that_mean_nothing_are_named(bad, line):
    if isinstance(bad, dict):
        bad = {name: torch.tensor(value) for name, value in bad.items()}
    with pytest.raises(UserError, match=line) as refusal:
        checked_targets([GOOD, bad], 10)
    assert "\n" not in str(refusal.value)


def test_images_without_boxes_train_and_are_judged(tmp_path):
    """Some detection sets have none on most images, spelled as an empty list."""
    data = boxes()
    data.inner.__class__ = type("Sparse", (type(data.inner),), {"_images": sparse})
    arch = write_searched_arch(tmp_path / "arch.json", width=0.1, head=32)
    trainer = trainer_for(tmp_path, max_epochs=1)
    trainer.fit(module_for(arch), data)
    assert 0 < float(trainer.callback_metrics["train/loss"]) < 100
    assert "val/map" in trainer.callback_metrics


def sparse(self, split):
    """The images of a split, the odd ones without boxes."""
    images = super(type(self), self)._images(split)
    found = [images[number] for number in range(len(images))]
    none = {"boxes": torch.tensor([]), "labels": torch.tensor([])}
    return [(image, none if i % 2 else target) for i, (image, target) in enumerate(found)]
