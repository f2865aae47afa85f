"""Cluttered digits: what is in an image, what it depends on, and what crosses no split."""

import dataclasses
import math
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import yaml
from torch.nn import functional as F

from supernet.data.digits import ClutteredDigits, ClutteredImages, Difficulty, source_digits
from supernet.data.run_data import RunData
from supernet.errors import UserError

PARTS = ("weights", "reward", "val", "test")
CLEAN = Difficulty(rotation=0, smallest=1, largest=1, fragments=0, noise=0)


def dataset(data, part):
    return getattr(data, f"{part}_dataloader")().dataset


def pixels(images, indices, seeds=()):
    """Images (B, R, R) as they are before normalisation."""
    items = images.seeded_items(list(indices), list(seeds))
    return torch.stack([image[0] for image, _ in items]) * images.STD + images.MEAN


def blob(x=0.0, y=0.0, side=8):
    """A Gaussian dot (1, 1, side, side) at (x, y), in half sides from the centre."""
    axis = (2 * torch.arange(side) + 1) / side - 1
    return torch.exp(-((axis - x) ** 2 + (axis[:, None] - y) ** 2) / 0.08)[None, None]


def centre(images):
    """Centre of mass of images (B, R, R), in half sides: (B, 2) as x, y."""
    axis = (2 * torch.arange(images.shape[-1]) + 1) / images.shape[-1] - 1
    mass = images.sum((1, 2))
    return torch.stack([images.sum(1) @ axis / mass, images.sum(2) @ axis / mass], 1)


def drawn(digits, difficulty, number, resolution=32):
    images = ClutteredImages(digits, [0] * len(digits), resolution, difficulty)
    return pixels(images, [0] * number, range(number))


# One image


def test_without_clutter_an_image_is_its_digit():
    images = dataset(ClutteredDigits(difficulty=CLEAN, copies=1), "val")
    own = pixels(images, range(5))
    expected = F.interpolate(images.digits[:5], (16, 16), mode="bilinear")[:, 0]
    # At the border one sees background beyond the digit, the other repeats it.
    torch.testing.assert_close(own[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1])


def test_a_digit_turns_by_at_most_the_rotation():
    level = Difficulty(rotation=30, smallest=1, largest=1, fragments=0, noise=0)
    at = centre(drawn(blob(x=0.5), level, 300))
    angles = torch.atan2(at[:, 1], at[:, 0]) * 180 / math.pi
    assert angles.min().item() == pytest.approx(-30, abs=1.5)
    assert angles.max().item() == pytest.approx(30, abs=1.5)


def test_a_digit_has_the_sizes_asked_for_and_stays_inside():
    level = Difficulty(rotation=0, smallest=0.5, largest=0.8, fragments=0, noise=0)
    sides = drawn(torch.ones(1, 1, 8, 8), level, 300, 64).amax(1).gt(0.5).sum(1) / 64
    assert sides.min().item() == pytest.approx(0.5, abs=0.03)
    assert sides.max().item() == pytest.approx(0.8, abs=0.03)
    small = Difficulty(rotation=0, smallest=0.5, largest=0.5, fragments=0, noise=0)
    at = centre(drawn(blob(), small, 300))
    assert at.abs().max().item() == pytest.approx(0.5, abs=0.03)
    assert at.mean(0).abs().max().item() < 0.06


def test_fragments_are_parts_of_digits():
    digits = torch.cat([torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)])
    level = Difficulty(rotation=0, smallest=0.5, largest=0.5, fragments=1, noise=0)
    areas = drawn(digits, level, 400, 64).gt(0.5).float().mean((1, 2))
    # Digit 0 is empty; half of the fragments are of it too, and some leave the image.
    assert 0.4 < areas.eq(0).float().mean() < 0.65
    seen = areas[areas > 0]
    assert seen.max().item() <= 0.25 / 2 + 0.01
    assert seen.max().item() > 0.25 / 4


def test_more_fragments_cover_more():
    digits = torch.cat([torch.zeros(1, 1, 8, 8), torch.ones(3, 1, 8, 8)])
    covered = [
        drawn(digits, Difficulty(fragments=number, noise=0), 100).mean().item()
        for number in (0, 1, 4)
    ]
    assert covered == sorted(covered)
    assert covered[0] == 0


def test_noise_has_the_deviation_asked_for():
    level = Difficulty(fragments=0, noise=0.3)
    images = drawn(torch.zeros(1, 1, 8, 8), level, 50)
    assert images.std().item() == pytest.approx(0.3, rel=0.02)


def test_default_images_are_normalised():
    images = torch.stack([image for image, _ in dataset(ClutteredDigits(copies=2), "val")])
    assert images.shape == (538, 3, 16, 16)
    assert images.dtype == torch.float32
    assert abs(images.mean().item()) < 0.05
    assert images.std().item() == pytest.approx(1, abs=0.05)


# What an image depends on


def test_a_training_image_depends_on_its_own_seed_alone():
    images = dataset(ClutteredDigits(), "weights")
    batch = pixels(images, [5, 6, 7], [50, 60, 70])
    torch.testing.assert_close(pixels(images, [6], [60])[0], batch[1], rtol=0, atol=1e-6)
    assert not torch.equal(pixels(images, [6], [61])[0], batch[1])


def test_training_is_fresh_and_evaluation_fixed_whatever_seeds_are_given():
    data = ClutteredDigits(copies=1)
    for part in ("train", "weights"):
        images = dataset(data, part)
        assert not torch.equal(images[3][0], images[3][0])
    for part in ("reward", "val", "test"):
        images = dataset(data, part)
        state = torch.get_rng_state()
        assert torch.equal(images[3][0], images[3][0])
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(pixels(images, [3], [1]), pixels(images, [3], [2]))


def test_evaluation_images_depend_on_the_split_seed():
    def first(seed):
        return pixels(dataset(ClutteredDigits(split_seed=seed, copies=1), "val"), range(20))

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))


def test_more_copies_add_images_of_the_same_digits():
    one, three = (dataset(ClutteredDigits(copies=copies), "val") for copies in (1, 3))
    assert (len(one), len(three)) == (269, 807)
    assert three.targets == 3 * one.targets
    assert torch.equal(pixels(three, range(269)), pixels(one, range(269)))
    assert not torch.equal(pixels(three, range(269, 538)), pixels(one, range(269)))


def test_reward_batches_of_a_search_are_fixed_images():
    data = ClutteredDigits(copies=2)
    known = {tuple(image.flatten().tolist()) for image, _ in dataset(data, "reward")}
    images, _ = RunData(data, "search", seed=3, reward_batch_size=32).reward_batch(5, 0)
    assert all(tuple(image.flatten().tolist()) in known for image in images)


# The split


def test_no_source_digit_crosses_the_parts_not_even_as_a_fragment():
    data = ClutteredDigits()
    sources = {
        part: {tuple(one.flatten().tolist()) for one in dataset(data, part).digits}
        for part in PARTS
    }
    assert sum(map(len, sources.values())) == len(set.union(*sources.values())) == 1797
    everything = {tuple(one.flatten().tolist()) for one in dataset(data, "train").digits}
    assert everything == sources["weights"] | sources["reward"]


def test_an_image_shows_digits_of_its_part_alone(monkeypatch):
    """Every pixel of a part without digits is background, fragments included."""
    data = ClutteredDigits(difficulty=Difficulty(fragments=6, noise=0), copies=1)
    images = dataset(data, "val")
    images.digits = torch.zeros_like(images.digits)
    assert pixels(images, range(50)).abs().max() < 1e-6


def test_the_split_deals_out_every_source_digit_with_its_class():
    data, (digits, targets) = ClutteredDigits(split_seed=4), source_digits()
    parts = [dataset(data, part) for part in PARTS]
    found = sorted(
        (tuple(digit.flatten().tolist()), target)
        for part in parts
        for digit, target in zip(part.digits, part.targets[: len(part.digits)], strict=True)
    )
    expected = zip(digits.flatten(1).tolist(), targets, strict=True)
    assert found == sorted((tuple(digit), target) for digit, target in expected)
    shares = [len(part.digits) / len(digits) for part in parts]
    assert shares == pytest.approx([0.3, 0.15, 0.15, 0.4], abs=0.01)


def test_fixed_training_images_do_not_change_and_are_no_evaluation_images():
    data = ClutteredDigits(copies=1, train_copies=2)
    first, again = (dataset(data, "train") for _ in range(2))
    scored = dataset(data, "reward")
    assert len(first) == 2 * (len(dataset(data, "weights")) // 2 + len(scored))
    assert torch.equal(pixels(first, range(40)), pixels(again, range(40), range(7, 47)))
    twins = ClutteredImages(scored.digits, scored.targets, 16, Difficulty(), scored.seeds)
    assert torch.equal(pixels(twins, range(9)), pixels(scored, range(9)))
    assert not set(scored.seeds) & set(first.seeds)


@pytest.mark.parametrize("split", PARTS)
def test_a_split_trained_on_has_other_images_than_the_same_split_evaluated(split):
    data = ClutteredDigits(copies=3, train_copies=3)
    train, evaluation = (data._images(split, augment=augment) for augment in (True, False))
    assert len(train.seeds) == len(evaluation.seeds) == len(set(train.seeds))
    assert not set(train.seeds) & set(evaluation.seeds)


# Options


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"rotation": 181}, "difficulty.rotation is 181, it must be at least 0 and at most 180"),
        ({"smallest": 0}, "difficulty.smallest is 0, it must be above 0 and at most 1"),
        (
            {"smallest": 0.8, "largest": 0.7},
            "largest is 0.7, it must be at least 0.8 and at most 1",
        ),
        ({"largest": 1.1}, "difficulty.largest is 1.1"),
        ({"fragments": -1}, "difficulty.fragments is -1, it must be at least 0"),
        ({"noise": math.nan}, "difficulty.noise is nan, it must be a finite number and at least 0"),
    ],
)
def test_a_difficulty_that_cannot_be_drawn_is_refused(values, line):
    with pytest.raises(UserError, match=line):
        Difficulty(**values)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"resolution": 7}, "resolution is 7, it must be at least 8"),
        ({"resolution": 65}, "it must be at least 8 and at most 64"),
        ({"copies": 0}, "copies is 0, it must be at least 1"),
        ({"train_copies": -1}, "train_copies is -1, it must be at least 0"),
        ({"batch_size": 0}, "batch_size is 0, it must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(values, line):
    with pytest.raises(UserError, match=line):
        ClutteredDigits(**values)


def test_the_module_knows_its_shape_before_it_is_loaded():
    data = ClutteredDigits(resolution=24)
    assert isinstance(data, pl.LightningDataModule)
    assert (data.num_classes, data.resolution, data.stem_stride) == (10, 24, 1)


@pytest.mark.slow
def test_the_command_line_knows_the_short_name_and_sets_the_difficulty(command):
    done = command(
        "retrain",
        "fit",
        "--run",
        "runs/x",
        "--model.arch",
        "mnasnet_small",
        "--data",
        "ClutteredDigits",
        "--data.difficulty.noise",
        "0.25",
        "--print_config",
    )
    assert done.returncode == 0, done.stderr
    data = yaml.safe_load(done.stdout)["data"]
    assert data["class_path"] == "supernet.data.ClutteredDigits"
    assert data["init_args"]["difficulty"] == dataclasses.asdict(Difficulty(noise=0.25))


def test_both_configs_set_every_difficulty_and_alike():
    folder = Path(__file__).parents[3] / "configs" / "clutter"
    files = [folder / f"{name}.yaml" for name in ("search", "retrain")]
    searched, retrained = (yaml.safe_load(f.read_text())["data"]["init_args"] for f in files)
    assert searched == retrained
    assert searched["difficulty"].keys() == dataclasses.asdict(Difficulty()).keys()


def test_a_simple_reader_finds_the_digits_in_light_clutter():
    """The labels belong to the images: nearest training image, clutter being light."""
    light = Difficulty(rotation=5, smallest=0.95, largest=1, fragments=0, noise=0.1)
    data = ClutteredDigits(difficulty=light, copies=1)
    train, val = dataset(data, "weights"), dataset(data, "val")
    known = pixels(train, range(len(train)), range(len(train))).flatten(1)
    nearest = torch.cdist(pixels(val, range(len(val))).flatten(1), known).argmin(1)
    right = [train.targets[i] == target for i, target in zip(nearest, val.targets, strict=True)]
    assert sum(right) / len(right) > 0.85
