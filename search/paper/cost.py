"""Cost of an experiment before it starts: CPU time here, GPU hours on ImageNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supernet.cost.counts import count
from supernet.files.reading import read_yaml
from supernet.space.published import published
from supernet.space.spec import NetSpec

LAYER_S, MACS_A_SECOND = 0.012, 4e9
"""Seconds of a step by layer, whatever its size, and multiply-adds a second, forward and backward,
of one busy core of a cloud machine without AVX-512; one with it takes a quarter."""
SEARCH_STEP_S = 0.16
"""CPU seconds of a step of a search of cluttered digits on the same core."""
IMAGENET_IMAGES, A1_IMAGES_A_SECOND, SEARCH_GPU_HOURS = 1_281_167, 1500, 12.0
"""Training images; images of 224 px that a GPU trains MnasNet-A1 on, assumed; and what a search by
configs/imagefolder takes on 8 such GPUs (docs/performance.md)."""


@dataclass(frozen=True)
class TrainingLength:
    """Length of a training as its config has it, before any image is looked for."""

    max_steps: int
    max_epochs: int
    batch_size: int

    @staticmethod
    def read(path: Path) -> TrainingLength:
        """That of the yaml file of a retraining.

        Raises:
            UserError: when the file cannot be read.
        """
        config: Any = read_yaml(path, "name the config of a retraining")
        trainer, data = config["trainer"], config["data"]["init_args"]
        steps, epochs = (trainer.get(name, -1) for name in ("max_steps", "max_epochs"))
        return TrainingLength(steps, epochs, data["batch_size"])


def training_seconds(spec: NetSpec, num_steps: int, batch_size: int) -> float:
    """CPU seconds of a training of one network here."""
    layers = sum(1 for _ in spec.layers())
    return num_steps * (LAYER_S * layers + 3 * batch_size * count(spec).macs / MACS_A_SECOND)


def gpu_hours(spec: NetSpec, epochs: int) -> float:
    """GPU hours of a training of one network on ImageNet, reading left out."""
    macs = count(spec).macs / count(published["mnasnet_a1"]).macs
    return epochs * IMAGENET_IMAGES * macs / A1_IMAGES_A_SECOND / 3600


def plan_line(
    trained: Sequence[NetSpec], num_searches: int, search_steps: int, length: TrainingLength
) -> str:
    """What trainings and searches take, in words.

    Args:
        trained: the network of each training; of searches, one like those that they find.
        num_searches: how many there are.
        search_steps: steps of each.
        length: of a training.
    """
    searches = f" and {num_searches} searches" * bool(num_searches)
    if length.max_steps < 0:
        hours = sum(gpu_hours(spec, length.max_epochs) for spec in trained)
        hours += SEARCH_GPU_HOURS * num_searches
        return (
            f"{len(trained)} trainings of {length.max_epochs} epochs{searches}: about"
            f" {hours:,.0f} GPU hours,"
            f" where a GPU trains MnasNet-A1 on {A1_IMAGES_A_SECOND:,} images a second (assumed),"
            f" and a search takes {SEARCH_GPU_HOURS:g} of them on 8 GPUs (docs/performance.md)"
        )
    seconds = sum(training_seconds(one, length.max_steps, length.batch_size) for one in trained)
    seconds += SEARCH_STEP_S * search_steps * num_searches
    return (
        f"{len(trained)} trainings of {length.max_steps} steps{searches}: about"
        f" {seconds / 60:.0f} minutes of CPU on a busy core of a cloud machine, less what the"
        " caches hold"
    )
