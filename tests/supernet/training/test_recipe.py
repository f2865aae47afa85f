"""The recipe: learning rates, schedules, the average's decay, and what is refused."""

import dataclasses
import math

import pytest
import torch

from supernet.errors import UserError
from supernet.training.recipe import PAPER, Recipe

QUICK = Recipe(optimizer="adamw", lr=0.04, eps=0, schedule="cosine", ema_decay=0.9, bn_momentum=0.1)


def test_learning_rate_grows_linearly_with_the_images_of_a_step():
    network = torch.nn.Linear(2, 2)
    # MnasNet: 0.256 for 4,096 images.
    assert PAPER.make_optimizer(network, 4096).param_groups[0]["lr"] == pytest.approx(0.256)
    assert PAPER.make_optimizer(network, 64).param_groups[0]["lr"] == pytest.approx(0.004)


def test_the_default_schedule_is_the_papers():
    steps_per_epoch = 312  # of ImageNet, with 4,096 images a step
    optimizer = PAPER.make_optimizer(torch.nn.Linear(2, 2), 4096)
    schedule = PAPER.make_schedule(optimizer, 350 * steps_per_epoch, steps_per_epoch)

    def lr(epoch):
        schedule.step_update(round(epoch * steps_per_epoch))
        return optimizer.param_groups[0]["lr"]

    assert lr(0) == 0
    assert lr(2.5) == pytest.approx(0.128)
    # The staircase counts from the first step: 5 epochs hold two decays of 2.4 epochs.
    assert lr(5) == pytest.approx(0.256 * 0.97**2)
    assert lr(7.1) == pytest.approx(0.256 * 0.97**2)
    assert lr(7.25) == pytest.approx(0.256 * 0.97**3)
    assert lr(349.9) == pytest.approx(0.256 * 0.97**145)


def test_the_cosine_schedule_rises_over_the_warm_up_and_ends_at_0():
    recipe = dataclasses.replace(QUICK, warmup=0.1)
    optimizer = recipe.make_optimizer(torch.nn.Linear(2, 2), 256)
    schedule = recipe.make_schedule(optimizer, num_steps=100, steps_per_epoch=10)
    for step, share in ((0, 0.0), (5, 0.5), (10, None), (50, 0.5), (100, 0.0)):
        schedule.step_update(step)
        expected = 0.5 * (1 + math.cos(math.pi * step / 100)) if share is None else share
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.04 * expected)


@pytest.mark.parametrize(
    ("field", "value"),
    [("lr", 0), ("momentum", 1), ("warmup", -0.1), ("ema_decay", 1), ("schedule", "linear")],
)
def test_a_recipe_names_the_value_that_is_out_of_range(field, value):
    with pytest.raises(UserError, match=f"recipe.{field} is"):
        Recipe(**{field: value})


def test_an_optimizer_that_timm_cannot_make_is_named():
    with pytest.raises(UserError, match=r"recipe.optimizer is 'adamm', allowed are .* adamw,"):
        Recipe(optimizer="adamm").make_optimizer(torch.nn.Linear(2, 2), 256)
