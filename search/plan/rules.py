"""Rules by which a plan follows from images, machine and time. No torch.

Each is a pure function, and all are listed in docs/plan.md. What is not said there is what
configs/photos has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from supernet.errors import UserError

Profile = Literal["quick", "balanced", "thorough"]
SMALL, LARGE, LARGEST = (32, 48, 64), (80, 96, 112, 128), (160, 192, 224)
"""Sides of a network's images, px: of small images, of photos, and of photos on a GPU besides. Up
to 64 px the first layer keeps the size, so that 64 px cost as much as 128."""
MANY, VERY_MANY = 5_000, 50_000
"""Training images from which batches, and on a GPU networks, are larger."""
FEW_OF_A_CLASS = 1_000
"""Training images of a class below which augmentation is light, not off."""
WORKERS = {"cpu": 4, "gpu": 8}
"""Processes that read images, at most."""
LEAST_TUNING, GOOD_TUNING = 8, 16
"""Steps of each tuned network: the fewest that a plan has, and those below which it takes smaller
images instead. What was tried has 17 and more (docs/search-method.md)."""
LEAST_EPOCHS, GOOD_EPOCHS, MOST_EPOCHS = 10, 30, 300
"""The same of the retraining, and the most."""
MOST_TUNING_EPOCHS, MOST_SHORT_TUNING = 2, 60
"""Longest tuning: so many epochs, or so many steps where these are fewer."""
SEARCH_SHARE = 0.5
"""Share of the budget that the search has; what it cannot use goes to the retraining."""
VALIDATIONS = 50
"""Validations of a retraining, about."""


@dataclass(frozen=True)
class Extent:
    """Lengths of a profile, where no budget says them."""

    tuning: int
    """Steps of each tuned network."""
    images: int
    """Images that the retraining sees, of as many epochs as that are."""
    side: int
    """Largest side of the images, px."""


PROFILES: dict[Profile, Extent] = {
    "quick": Extent(16, 20_000, 96),
    "balanced": Extent(30, 100_000, 128),
    "thorough": Extent(60, 400_000, 224),
}


@dataclass(frozen=True)
class Machine:
    """What trains."""

    cores: int
    gpu: str = ""
    """Name of the GPU; empty where there is none."""

    @property
    def kind(self) -> Literal["cpu", "gpu"]:
        """Accelerator, as a trainer calls it."""
        return "gpu" if self.gpu else "cpu"


def resolutions(side: int, machine: Machine, most: int = LARGEST[-1]) -> list[int]:
    """Sides that suit images whose middle shorter side is ``side`` px, from the smallest.

    None is larger than the images, which would show nothing more.
    """
    small = side < LARGE[0]
    offered = SMALL if small else LARGE if machine.kind == "cpu" else LARGE + LARGEST
    return [px for px in offered if px <= min(side, most)] or [offered[0]]


def batch_size(num_images: int, machine: Machine) -> int:
    """Images of a step: 32, from 5,000 images on 64, each twice on a GPU; 4 steps an epoch.

    Of a few dozen images 8, or all of them.
    """
    wanted = (64 if num_images >= MANY else 32) * (2 if machine.kind == "gpu" else 1)
    while wanted > 8 and 4 * wanted > num_images:
        wanted //= 2
    return min(wanted, num_images)


def space_width(num_images: int, machine: Machine) -> float:
    """Multiplier of the widths of the paper's space."""
    if machine.kind == "cpu" or num_images < MANY:
        return 0.35
    return 0.5 if num_images < VERY_MANY else 1.0


def num_workers(machine: Machine) -> int:
    """Processes that read images beside the one that trains; none where there is one core."""
    return min(machine.cores - 1, WORKERS[machine.kind])


def preset(images_per_class: float) -> Literal["none", "light"]:
    """Augmentation beyond crops and flips; ``strong`` has shown no gain (docs/training.md)."""
    return "light" if images_per_class < FEW_OF_A_CLASS else "none"


def crop_area(epochs: int) -> float:
    """Least share of an image that a training crop shows: short trainings learn little of less."""
    return 0.5 if epochs < 50 else 0.35 if epochs < 150 else 0.2


def ema_decay(steps: int) -> float:
    """Decay of the average of the weights: it spans about a twentieth of a training."""
    return 0.99 if steps < 5_000 else 0.999 if steps < 50_000 else 0.9999


def validation_interval(epochs: int) -> int:
    """Epochs from one validation to the next."""
    return max(1, epochs // VALIDATIONS)


def most_tuning(num_images: int, batch: int) -> int:
    """Steps of the longest tuning: two epochs, at least 60 steps."""
    return max(MOST_SHORT_TUNING, MOST_TUNING_EPOCHS * (num_images // batch))


def epochs_of(profile: Profile, num_images: int) -> int:
    """Epochs of a profile's retraining."""
    wanted = round(PROFILES[profile].images / num_images)
    return min(max(wanted, LEAST_EPOCHS), MOST_EPOCHS)


_BUDGET = re.compile(r"(?:(\d+\.?\d*)h)?(?:(\d+\.?\d*)m)?(?:(\d+\.?\d*)s)?")


def budget_seconds(text: str) -> float:
    """A budget such as ``90s``, ``30m`` or ``1h30m`` in seconds.

    Raises:
        UserError: for anything else.
    """
    found = _BUDGET.fullmatch(text.strip())
    hours, minutes, seconds = (float(one or 0) for one in found.groups()) if found else (0, 0, 0)
    total = 3600 * hours + 60 * minutes + seconds
    if not 0 < total < 1e9:
        raise UserError(f"--budget is {text!r}: give a time such as 30m, 2h or 1h30m")
    return total


TARGET = re.compile(r"p\d*\.?\d+|\d*\.?\d+(e[+-]?\d+)?|\d*\.?\d+\s*x\s+\S+")


def check_target(text: str, cost: str) -> None:
    """Refuse what can be no target of a cost, before a table is known.

    Raises:
        UserError: naming it.
    """
    target = text.strip()
    if not TARGET.fullmatch(target) or (target[0] == "p" and float(target[1:]) > 100):
        raise UserError(
            f"--target is {text!r}: give a number of {cost}, a percentile of the space from p0 to"
            " p100, or a factor as in '0.8x mnasnet_a1'"
        )
