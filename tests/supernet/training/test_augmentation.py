"""Augmentations: presets, and that each image's depends on its own seed alone."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from supernet.data.digits import Digits
from supernet.data.resumable import resumable
from supernet.data_description import Preprocessing
from supernet.errors import UserError
from supernet.training.augmentation import PRESETS, Augmentation, Pixels

TOLD = Preprocessing(16, 16, "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
STRONG = Augmentation("strong", flip=0.5, vertical_flip=0.5, rotation=30.0)


def batches(augmentation, batch_size=16, rank=0, world_size=1, start=0, number=2):
    data = Digits(resolution=16, batch_size=batch_size)
    told = data.description.preprocessing
    loader = resumable(
        data.train_dataloader(),
        0,
        rank,
        world_size,
        start,
        view=lambda dataset: augmentation.of_images(dataset, told),
    )
    endless = loader.endless()
    return [next(endless) for _ in range(number)]


def test_none_leaves_data_sets_as_they_are():
    dataset = TensorDataset(torch.zeros(2, 3, 8, 8), torch.zeros(2))
    assert Augmentation().of_images(dataset, None) is dataset
    assert (Augmentation().words, Augmentation().mixes) == ("", False)


def test_a_preset_gives_way_to_what_is_set():
    assert Augmentation("strong").active == PRESETS["strong"]
    changed = Augmentation("strong", erasing=0.0, mixup=0.5, randaugment="")
    assert changed.active == {"mixup": 0.5, "cutmix": 1.0}
    assert changed.words == "mixup 0.5, cutmix 1.0"
    assert Augmentation("light").active == {"randaugment": "rand-m5-n1-mstd0.5-inc1"}


def test_pixels_come_back_as_they_were():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(3, -1, -1)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (TOLD.mean, TOLD.std))
    image = (levels.float() / 255 - mean) / std
    pixels = Pixels(TOLD)
    picture = pixels.read(image)
    assert np.array_equal(np.asarray(picture), levels.permute(1, 2, 0).numpy())
    assert torch.equal(pixels.normalised(picture), image)


def test_images_change_and_differ_each_time():
    (plain, labels), (augmented, same) = (batches(a, number=1)[0] for a in (Augmentation(), STRONG))
    assert torch.equal(labels, same)
    assert augmented.shape == plain.shape
    assert augmented.dtype == torch.float32
    assert all(not torch.equal(*pair) for pair in zip(plain, augmented, strict=True))
    data = Digits(resolution=16)
    view = STRONG.of_images(data.train_dataloader().dataset, data.description.preprocessing)
    (first, _), (second, _), (again, _) = view.seeded_items([0, 0, 0], [1, 2, 1])
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_an_image_depends_neither_on_the_rank_nor_on_where_a_run_was_resumed():
    whole = batches(STRONG, batch_size=16, number=3)
    ranks = [batches(STRONG, 8, rank, 2, number=3) for rank in (0, 1)]
    for step, (images, labels) in enumerate(whole):
        for rank in (0, 1):
            assert torch.equal(ranks[rank][step][0], images[rank::2])
            assert torch.equal(ranks[rank][step][1], labels[rank::2])
    resumed = batches(STRONG, start=2, number=1)
    assert torch.equal(resumed[0][0], whole[2][0])


@pytest.mark.parametrize(
    "notation", ["rand-m10-n1-p1.0-inc1", "rand-m0-n1-p1.0", "rand-m1-n1-p1.0"]
)
def test_every_op_works_at_its_strongest_and_weakest(notation):
    """Pillow refuses images of no bit, for which timm's posterize asks."""
    view = Augmentation(randaugment=notation).of_images(
        TensorDataset(torch.zeros(1, 3, 8, 8), torch.zeros(1)), TOLD
    )
    (changes,) = view.changes
    for op in changes.changes[0].ops:
        picture = op(changes.pixels.read(torch.rand(3, 8, 8)))
        assert changes.pixels.normalised(picture).isfinite().all()


def test_the_draws_are_not_those_of_the_data_set():
    """A flip of the data set and one of the augmentation would else always undo each other."""

    class Flips(TensorDataset):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return (image.flip(-1) if torch.rand(1) < 0.5 else image), label

    image = torch.linspace(-1, 1, 64).view(1, 1, 8, 8).expand(64, 3, 8, 8)
    told = dataclasses.replace(TOLD, resize=8, crop=8)
    view = Augmentation(flip=0.5).of_images(Flips(image, torch.zeros(64)), told)
    loader = resumable(DataLoader(view, batch_size=64), 0)
    images, _ = next(loader.endless())
    mirrored = (images[:, 0, 0, 0] > images[:, 0, 0, -1]).sum()
    assert 16 < mirrored < 48


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"preset": "heavy"}, r"preset is 'heavy', allowed are none, light, strong"),
        ({"flip": 1.5}, r"flip is 1.5, it must be at least 0 and at most 1"),
        ({"rotation": float("nan")}, r"rotation is nan, it must be a finite number"),
        ({"mixup": -1}, r"mixup is -1, it must be at least 0"),
        ({"randaugment": "rand-m9-q3"}, r"randaugment is 'rand-m9-q3', which timm does not"),
        ({"randaugment": "augmix-m3"}, r"such as rand-m9-n2-mstd0.5-inc1"),
        ({"randaugment": "rand-mx"}, r"which timm does not understand"),
    ],
)
def test_what_cannot_be_is_refused(settings, words):
    with pytest.raises(UserError, match=r"^recipe\.augmentation\..*" + words):
        Augmentation(**settings)


def test_data_that_do_not_tell_their_pixels_are_refused_where_these_are_needed():
    dataset = TensorDataset(torch.zeros(2, 3, 8, 8), torch.zeros(2))
    with pytest.raises(UserError, match=r"augmentation\.rotation is 10.0, but the datamodule"):
        Augmentation(rotation=10.0).of_images(dataset, None)
    ((erased, _),) = Augmentation(erasing=1.0).of_images(dataset, None).seeded_items([0], [0])
    assert erased.count_nonzero() > 0
    assert dataset.tensors[0].count_nonzero() == 0
