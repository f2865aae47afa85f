"""The rules of a plan, as docs/plan.md has them."""

import pytest

from search.plan.rules import (
    MOST_EPOCHS,
    Machine,
    batch_size,
    budget_seconds,
    crop_area,
    ema_decay,
    epochs_of,
    most_tuning,
    num_workers,
    preset,
    resolutions,
    space_width,
    validation_interval,
)
from supernet.errors import UserError

LAPTOP, GPU = Machine(4), Machine(16, "H100")


@pytest.mark.parametrize(
    ("side", "machine", "offered"),
    [
        (20, LAPTOP, [32]),
        (40, LAPTOP, [32]),
        (64, LAPTOP, [32, 48, 64]),
        (79, GPU, [32, 48, 64]),
        (80, LAPTOP, [80]),
        (100, LAPTOP, [80, 96]),
        (3000, LAPTOP, [80, 96, 112, 128]),
        (3000, GPU, [80, 96, 112, 128, 160, 192, 224]),
        (170, GPU, [80, 96, 112, 128, 160]),
    ],
)
def test_images_are_never_made_larger_than_they_are_but_for_the_smallest(side, machine, offered):
    assert resolutions(side, machine) == offered


def test_a_profile_limits_the_resolution():
    assert resolutions(3000, GPU, 96) == [80, 96]
    assert resolutions(64, LAPTOP, 96) == [32, 48, 64]


@pytest.mark.parametrize(
    ("number", "machine", "batch"),
    [
        (3, LAPTOP, 3),
        (7, GPU, 7),
        (10, LAPTOP, 8),
        (64, LAPTOP, 16),
        (128, LAPTOP, 32),
        (4_999, LAPTOP, 32),
        (5_000, LAPTOP, 64),
        (128, GPU, 32),
        (4_999, GPU, 64),
        (5_000, GPU, 128),
    ],
)
def test_batches_grow_with_the_images_and_leave_four_steps_of_an_epoch(number, machine, batch):
    assert batch_size(number, machine) == batch


def test_only_a_gpu_and_many_images_widen_the_space():
    widths = [space_width(number, GPU) for number in (4_999, 5_000, 49_999, 50_000)]
    assert widths == [0.35, 0.5, 0.5, 1.0]
    assert space_width(1_000_000, LAPTOP) == 0.35


def test_the_core_that_trains_reads_alone_where_there_is_no_other():
    cores = [Machine(1), Machine(2), Machine(16), Machine(4, "H100"), GPU]
    assert [num_workers(one) for one in cores] == [0, 1, 4, 3, 8]


def test_little_data_and_long_trainings_change_the_recipe():
    assert [preset(number) for number in (40, 999, 1_000)] == ["light", "light", "none"]
    assert [crop_area(epochs) for epochs in (49, 50, 149, 150)] == [0.5, 0.35, 0.35, 0.2]
    assert [ema_decay(steps) for steps in (4_999, 5_000, 50_000)] == [0.99, 0.999, 0.9999]
    assert [validation_interval(epochs) for epochs in (1, 99, 100, 300)] == [1, 1, 2, 6]


def test_lengths_are_of_images_seen_within_limits():
    assert [most_tuning(number, 32) for number in (300, 3_200)] == [60, 200]
    numbers = (10, 200, 1_000, 10_000)
    assert [epochs_of("quick", number) for number in numbers] == [MOST_EPOCHS, 100, 20, 10]
    assert epochs_of("thorough", 4_000) == 100


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400), (" 10m ", 600)],
)
def test_a_budget_is_a_time(text, seconds):
    assert budget_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "0m", "half an hour", "30m1h", "-5m", "9" * 400])
def test_what_is_no_time_is_named(text):
    with pytest.raises(UserError, match="give a time such as 30m, 2h or 1h30m"):
        budget_seconds(text)
