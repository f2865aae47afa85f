"""The drawn detection set: what is in an image, what its boxes hold, and that it repeats."""

import numpy as np
import pytest
import torch

from retrain.detect.digit_boxes import SPLITS, BoxImages, DigitBoxes
from supernet.data.digits import DigitImages, Digits
from supernet.data.run_data import RunData
from supernet.errors import UserError


def images(split="train", number=60, **changes):
    settings = {"resolution": 96, "max_digits": 4, "noise": 0.05, "seed": 0, **changes}
    digits = settings.pop("digits", None) or Digits(resolution=8).val_dataloader().dataset
    return BoxImages(digits, split, number, **settings)


def assert_same(left, right):
    assert torch.equal(left[0], right[0])
    for name in ("boxes", "labels"):
        assert torch.equal(left[1][name], right[1][name])


def test_an_image_is_a_function_of_seed_split_and_index():
    data = images()
    first = [data[index] for index in range(4)]
    torch.manual_seed(9)
    np.random.seed(9)  # noqa: NPY002 - the global generator must not matter
    for index in (2, 0, 3, 1):
        assert_same(images()[index], first[index])
    others = (images(seed=1)[0], images(split="val")[0], first[1])
    assert not any(torch.equal(first[0][0], other[0]) for other in others)


def test_every_image_holds_boxes_of_digits_that_lie_within_it_and_hardly_overlap():
    data, counts = images(number=200), []
    for index in range(len(data)):
        image, target = data[index]
        boxes, labels = target["boxes"], target["labels"]
        assert image.shape == (3, 96, 96)
        assert image.dtype == boxes.dtype == torch.float32
        assert boxes.shape == (len(labels), 4)
        assert boxes.min() >= 0
        assert boxes.max() <= 96
        assert (boxes[:, 2:] - boxes[:, :2]).min() >= 4
        assert labels.min() >= 1
        assert labels.max() <= 10
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        left_top = torch.maximum(boxes[:, None, :2], boxes[:, :2])
        shared = (torch.minimum(boxes[:, None, 2:], boxes[:, 2:]) - left_top).clamp(min=0).prod(2)
        shared.fill_diagonal_(0)
        assert (shared <= 0.1 * torch.minimum(areas[:, None], areas) + 1e-4).all()
        counts.append(len(labels))
    assert set(counts) == {1, 2, 3, 4}


def test_a_box_ends_where_the_ink_does_on_a_background_without_noise():
    data = images(max_digits=1, noise=0.0)
    for index in range(len(data)):
        image, target = data[index]
        contrast = (image - image.amin((1, 2), keepdim=True)).mean(0)
        rows, columns = torch.where(contrast >= 0.5 * contrast.max() - 1e-5)
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert target["boxes"].tolist() == [[float(edge) for edge in edges]]


def test_a_label_is_the_class_of_what_was_drawn_plus_one():
    # Class 0 fills its 8x8 pixels, class 1 half their height.
    patterns = torch.ones(2, 1, 8, 8)
    patterns[1, :, 4:] = 0
    data = images(digits=DigitImages(patterns, [0, 1], augment=False), max_digits=1)
    labels = []
    for index in range(len(data)):
        _, target = data[index]
        width, height = (target["boxes"][0, 2:] - target["boxes"][0, :2]).tolist()
        labels.append(target["labels"].item())
        assert labels[-1] == (1 if height > 0.75 * width else 2)
    assert set(labels) == {1, 2}


def test_no_digit_is_drawn_in_two_splits():
    data = DigitBoxes(train_images=2, val_images=3, test_images=4)
    loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    drawn = [{d.numpy().tobytes() for d in loader.dataset.digits.images} for loader in loaders]
    assert len(set.union(*drawn)) == sum(map(len, drawn)) == 1797
    assert [len(loader.dataset) for loader in loaders] == [2, 3, 4]
    assert [loader.dataset.split for loader in loaders] == list(SPLITS)


def test_colours_are_normalised_to_about_mean_0_and_deviation_1():
    data = images(number=100, resolution=128)
    pixels = torch.stack([data[index][0] for index in range(len(data))])
    assert abs(pixels.mean().item()) < 0.1
    assert pixels.std().item() == pytest.approx(1, abs=0.1)


def test_batches_are_lists_also_as_a_run_reads_them():
    data = DigitBoxes(resolution=64, batch_size=3, val_images=7)
    assert (data.num_classes, data.resolution, data.stem_stride) == (10, 64, 1)
    batches = list(RunData(data, "retrain", seed=0).val_dataloader())
    assert [len(images) for images, _ in batches] == [3, 3, 1]
    own = data.val_dataloader().dataset
    read = [sample for batch in batches for sample in zip(*batch, strict=True)]
    for index, sample in enumerate(read):
        assert_same(sample, own[index])


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("resolution", 32, 48),
        ("batch_size", 0, 1),
        ("train_images", 0, 1),
        ("max_digits", 0, 1),
        ("noise", -0.1, 0),
        ("noise", float("nan"), 0),
        ("seed", -1, 0),
        ("num_workers", -1, 0),
    ],
)
def test_a_value_out_of_range_is_named_with_its_limit(name, value, least):
    with pytest.raises(UserError, match=f"{name} is {value}, it must be .*at least {least}"):
        DigitBoxes(**{name: value})
