"""The splits, and Digits: their images and their augmentation."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from supernet.data.digits import DigitImages, Digits
from supernet.data.splits import ImageSplits, default_stem_stride, stratified_split
from supernet.errors import UserError

SPLITS = ("weights", "reward", "val", "test")


def loader(data: ImageSplits, split: str) -> DataLoader:
    return getattr(data, f"{split}_dataloader")()


# The splits


def test_a_split_deals_every_index_to_exactly_one_split() -> None:
    labels = [0] * 50 + [1] * 30 + [2] * 20
    splits = list(stratified_split(labels, {"val": 0.2, "test": 0.1}, seed=3).values())
    assert sorted(index for split in splits for index in split) == list(range(100))
    assert [Counter(labels[i] for i in split) for split in splits] == [
        {0: 10, 1: 6, 2: 4},
        {0: 5, 1: 3, 2: 2},
        {0: 35, 1: 21, 2: 14},
    ]


def test_a_split_depends_on_its_seed_alone() -> None:
    labels = np.random.default_rng(0).integers(3, size=100).tolist()
    torch.manual_seed(1)
    first = stratified_split(labels, {"val": 0.5}, seed=0)
    torch.manual_seed(2)
    assert stratified_split(labels, {"val": 0.5}, seed=0) == first
    assert stratified_split(labels, {"val": 0.5}, seed=1) != first


def test_every_split_gets_an_image_of_the_smallest_class() -> None:
    shares = dict.fromkeys(("val", "test", "reward"), 0.1)
    splits = stratified_split([0] * 100 + [1] * 4, shares, seed=0)
    assert all(split[-1] >= 100 for split in splits.values())


def test_a_class_smaller_than_the_number_of_splits_is_named() -> None:
    shares = dict.fromkeys(("val", "test", "reward"), 0.1)
    with pytest.raises(UserError, match=r"class owl has 3 image\(s\).*4 splits"):
        stratified_split([0] * 9 + [1] * 3, shares, seed=0, names=["cat", "owl"])


def test_digits_are_split_into_known_shares_of_each_class() -> None:
    data = Digits()
    sizes = {split: len(loader(data, split).dataset) for split in SPLITS}
    assert sum(sizes.values()) == 1797
    for split, share in {"test": 0.2, "val": 0.1, "reward": 0.1, "weights": 0.6}.items():
        counts = Counter(loader(data, split).dataset.targets)
        for digit, total in enumerate(np.bincount(load_digits().target)):
            assert abs(counts[digit] - share * total) <= 1.5


def test_the_splits_of_the_digits_are_disjoint_and_reproducible() -> None:
    def images(seed: int, split: str) -> Tensor:
        return loader(Digits(split_seed=seed), split).dataset.images

    pixels = {
        split: {tuple(image.flatten().tolist()) for image in images(0, split)} for split in SPLITS
    }
    assert len(set.union(*pixels.values())) == sum(len(split) for split in pixels.values())
    assert torch.equal(images(0, "test"), images(0, "test"))
    assert not torch.equal(images(0, "test")[:100], images(1, "test")[:100])


def test_training_images_are_the_weights_split_and_the_reward_split() -> None:
    data = Digits()
    splits = [loader(data, split).dataset.images for split in ("weights", "reward")]
    assert torch.equal(loader(data, "train").dataset.images, torch.cat(splits))


@pytest.mark.parametrize("split", ["reward", "val", "test"])
def test_evaluation_leaves_no_image_out_though_the_last_batch_is_smaller(split: str) -> None:
    batches = list(loader(Digits(8, batch_size=50), split))
    labels = [int(label) for _, labels in batches for label in labels]
    assert labels == loader(Digits(8), split).dataset.targets
    assert len(batches[-1][1]) < 50


def test_training_takes_whole_batches() -> None:
    sizes = {len(labels) for _, labels in loader(Digits(8, batch_size=50), "train")}
    assert sizes == {50}


# Digits


def test_digits_at_their_own_resolution_are_the_originals_normalised() -> None:
    batches = [batch for split in SPLITS for batch in DataLoader(unmoved(Digits(8), split), 2000)]
    images = torch.cat([images for images, _ in batches])
    assert images.shape == (1797, 3, 8, 8)
    assert images.dtype == torch.float32
    assert torch.equal(images[:, 0], images[:, 2])
    assert images.mean().item() == pytest.approx(0, abs=1e-3)
    assert images.std().item() == pytest.approx(1, abs=1e-3)


def unmoved(data: Digits, split: str) -> DigitImages:
    images = loader(data, split).dataset
    return DigitImages(images.images, images.targets, augment=False)


def test_digits_are_resized_bilinearly() -> None:
    small, large = (loader(Digits(size), "val").dataset.images for size in (8, 20))
    expected = F.interpolate(small, (20, 20), mode="bilinear", align_corners=False)
    torch.testing.assert_close(large, expected)


@pytest.mark.parametrize("resolution", [7, 33])
def test_digits_refuse_a_resolution_out_of_range(resolution: int) -> None:
    with pytest.raises(
        UserError, match=f"resolution is {resolution}, it must be at least 8 and at most 32"
    ):
        Digits(resolution)


def test_a_batch_size_of_zero_is_refused() -> None:
    with pytest.raises(UserError, match="batch_size is 0, it must be at least 1"):
        Digits(batch_size=0)


def blob(offset: tuple[float, float], size: int = 33) -> Tensor:
    """A Gaussian dot at an offset (x, y) px from the centre of an image (1, 1, size, size)."""
    axis = torch.arange(size) - (size - 1) / 2
    x, y = axis - offset[0], axis - offset[1]
    return torch.exp(-(x[None] ** 2 + y[:, None] ** 2) / 4)[None, None]


def moved_centres(offset: tuple[float, float], count: int = 400, size: int = 33) -> Tensor:
    """Where the dot lies in augmented images: (count, 2) as x, y px from the centre."""
    data = DigitImages(blob(offset, size), [0], augment=True)
    items = data.seeded_items([0] * count, list(range(count)))
    images = torch.stack([image[0] for image, _ in items]) * data.STD + data.MEAN
    axis = torch.arange(size) - (size - 1) / 2
    mass = images.sum((1, 2))
    return torch.stack([images.sum(1) @ axis / mass, images.sum(2) @ axis / mass], 1)


def test_images_are_shifted_by_up_to_an_eighth_of_their_width() -> None:
    shifts = moved_centres((0, 0))
    assert shifts.abs().max().item() == pytest.approx(33 / 8, rel=0.05)
    assert shifts.mean(0).abs().max().item() < 0.4


def test_images_are_rotated_by_up_to_12_degrees_and_scaled_by_up_to_10_percent() -> None:
    arm = moved_centres((8, 0)) - moved_centres((0, 0))
    angles = torch.atan2(arm[:, 1], arm[:, 0]) * 180 / math.pi
    lengths = arm.norm(dim=1) / 8
    assert angles.min().item() == pytest.approx(-12, abs=1)
    assert angles.max().item() == pytest.approx(12, abs=1)
    assert lengths.min().item() == pytest.approx(0.9, abs=0.02)
    assert lengths.max().item() == pytest.approx(1.1, abs=0.02)


def test_a_digit_depends_on_its_own_seed_and_not_on_its_neighbours() -> None:
    data = loader(Digits(), "weights").dataset
    batch = data.seeded_items([5, 6, 7], [50, 60, 70])
    alone = data.seeded_items([6], [60])
    assert torch.equal(batch[1][0], alone[0][0])
    assert not torch.equal(data.seeded_items([6], [61])[0][0], alone[0][0])


def test_only_training_digits_are_augmented() -> None:
    data = Digits()
    for split in ("reward", "val", "test"):
        images = loader(data, split).dataset
        state = torch.get_rng_state()
        assert torch.equal(images[3][0], images[3][0])
        assert torch.equal(torch.get_rng_state(), state)
    for split in ("train", "weights"):
        images = loader(data, split).dataset
        assert not torch.equal(images[3][0], images[3][0])


@pytest.mark.parametrize(("resolution", "stride"), [(8, 1), (64, 1), (65, 2), (224, 2)])
def test_the_stem_keeps_the_size_of_small_images(resolution: int, stride: int) -> None:
    assert default_stem_stride(resolution) == stride


def test_digits_know_their_shape_before_they_are_loaded() -> None:
    data = Digits(resolution=24)
    assert (data.num_classes, data.resolution, data.stem_stride) == (10, 24, 1)
