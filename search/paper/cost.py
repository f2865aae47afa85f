"""Cost of an experiment before it starts: CPU time here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supernet.cost.counts import count
from supernet.files.reading import read_yaml
from supernet.space.spec import NetSpec

LAYER_S, MACS_A_SECOND = 0.012, 4e9
"""Seconds of a step by layer, whatever its size, and multiply-adds a second, forward and backward,
of one busy core of a cloud machine without AVX-512; one with it takes a quarter."""


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
