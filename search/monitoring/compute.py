"""Compute of a search: images x multiply-accumulates, counted here alone, and seconds."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Any

import pytorch_lightning as pl

from supernet.cost.counts import count, count_layer
from supernet.errors import UserError, check_range
from supernet.files.json_text import parse_json
from supernet.files.reading import read_as, typed_object
from supernet.files.writing import write_json
from supernet.network.elastic import variant
from supernet.space.arch import Arch, Path, mixed_ops
from supernet.space.mnasnet import MnasSpace
from supernet.space.stage import Layer

FORWARD_PASSES = 3
"""Forward passes that a training step takes as long as; scoring a network takes one."""


def running_macs(space: MnasSpace, archs: Iterable[Arch], images: int) -> int:
    """Images x multiply-accumulates of running each architecture on as many images."""
    return images * sum(count(space.spec(arch)).macs for arch in archs)


def path_macs(space: MnasSpace, path: Path, stream: bool) -> int:
    """Multiply-accumulates of one image in the supernet, where a mixed block runs several ops.

    ``stream`` says whether the shortcuts that all ops share are computed.
    """
    spec = space.spec(path)
    macs = count(spec).macs
    for layers in spec.stage_layers():
        macs += sum(_beyond_network(layer, stream) for layer in layers)
    return macs


@lru_cache(maxsize=4096)
def _beyond_network(layer: Layer, stream: bool) -> int:
    """Multiply-accumulates of one layer beyond ``count_layer``."""
    macs, ops = 0, mixed_ops(layer.op)
    if len(ops) > 1:
        macs += sum(count_layer(variant(layer, op)).macs for op in ops) - count_layer(layer).macs
    if stream and layer.skip != "identity":
        macs += layer.inputs * layer.outputs * layer.output_size**2
    return macs


@dataclass(frozen=True)
class Spent:
    """Compute of all processes together, up to some moment."""

    image_macs: float
    """Images x multiply-accumulates of all training; an image that is only run counts a third."""
    seconds: float | None = None
    """Wall time, if known; what a kill undid is not in it."""
    cpu_seconds: float | None = None
    """CPU time of the first process, if known."""

    @staticmethod
    def of(checkpoint: dict[str, Any]) -> Spent | None:
        """What a search had spent when it wrote a checkpoint; None if it does not say.

        Raises:
            UserError: when it says what no search can have spent.
        """
        states = typed_object("callbacks of the checkpoint", checkpoint.get("callbacks", {}))
        if "Health" not in states:
            return None
        health = typed_object("Health of the checkpoint", states["Health"])
        # Searches of earlier versions kept no time.
        times = typed_object("spending of the checkpoint", states.get(Spending.__name__, {}))
        return _checked({"image_macs": health.get("image_macs"), **times})

    @staticmethod
    def read(path: FilePath) -> Spent | None:
        """What cost.json in a run folder says; None where there is none.

        Raises:
            UserError: when it is broken.
        """
        if not path.exists():
            return None
        try:
            return _checked(typed_object("the content", parse_json(path.read_bytes())))
        except (OSError, UserError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise UserError(
                f"{path} is broken ({reason}): it must hold image_macs, seconds and cpu_seconds;"
                " remove it to do without"
            ) from None

    def write(self, path: FilePath) -> None:
        """Write cost.json."""
        write_json(path, dataclasses.asdict(self))

    def plus_scoring(self, image_macs: float, seconds: float) -> Spent:
        """Compute with that of images that were only run, in one process, on top."""
        return dataclasses.replace(
            self,
            image_macs=self.image_macs + image_macs / FORWARD_PASSES,
            seconds=None if self.seconds is None else self.seconds + seconds,
            cpu_seconds=None if self.cpu_seconds is None else self.cpu_seconds + seconds,
        )


def _checked(fields: dict[str, Any]) -> Spent:
    # Whole numbers of multiply-accumulates may be larger than a JSON reader's exact ones.
    plain = {
        name: float(value) if type(value) is int and abs(value) < 10**300 else value
        for name, value in fields.items()
    }
    spent = read_as(Spent, plain, partial=True)
    check_range("", spent, "image_macs", "seconds", "cpu_seconds", least=0)
    return spent


def _clocks() -> dict[str, float]:
    return {"seconds": time.perf_counter(), "cpu_seconds": time.process_time()}


class Spending(pl.Callback):
    """Keeps in the checkpoint how long a search has run, and adds what its end costs."""

    def __init__(self, trained_image_macs: Callable[[], int]) -> None:
        """``trained_image_macs`` tells what training and the controller have computed so far."""
        self.trained_image_macs = trained_image_macs
        self.final_image_macs = 0
        """Images x multiply-accumulates of the last choice, whose images are only run."""
        self._before = dict.fromkeys(_clocks(), 0.0)
        self._start = _clocks()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start here: what came before, such as measuring the device, is not the search's."""
        self._start = _clocks()

    def state_dict(self) -> dict[str, float]:
        """Seconds up to now."""
        now = _clocks()
        return {name: self._before[name] + now[name] - self._start[name] for name in now}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on where a checkpoint was; called before ``on_fit_start``."""
        self._before = dict(state_dict)

    def score(self, space: MnasSpace, archs: Iterable[Arch], images: int) -> None:
        """The end of the search runs architectures on as many images each, on any process."""
        self.final_image_macs += running_macs(space, archs, images)

    def add(self, seconds: float, cpu_seconds: float) -> None:
        """What was done at the end of the search by a process before this one."""
        self._before["seconds"] += seconds
        self._before["cpu_seconds"] += cpu_seconds

    @property
    def spent(self) -> Spent:
        """Compute up to now."""
        trained = Spent(self.trained_image_macs(), **self.state_dict())
        return trained.plus_scoring(self.final_image_macs, 0.0)
