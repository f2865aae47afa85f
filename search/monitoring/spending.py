"""What a search spends: images x multiply-accumulates, which ``Health`` counts, and seconds."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from search.monitoring.compute import FORWARD
from search.monitoring.health import Health
from supernet.cost.counts import count
from supernet.errors import UserError
from supernet.files.writing import write_atomic
from supernet.space.arch import Arch
from supernet.space.mnasnet import MnasSpace


@dataclass(frozen=True)
class Spent:
    """By all processes together, up to some moment."""

    image_macs: float
    """Images x multiply-accumulates of all training; an image that is only run counts a third."""
    seconds: float | None = None
    """Wall time, if known; what a kill undid is not in it."""
    cpu_seconds: float | None = None
    """CPU time of the first process, if known."""

    @staticmethod
    def of(checkpoint: dict[str, Any]) -> Spent | None:
        """What a search had spent when it wrote a checkpoint; None if it did not tell."""
        reported = checkpoint.get("callbacks", {})
        if Health.__name__ not in reported:
            return None
        # Searches of earlier versions kept no time.
        return Spent(reported[Health.__name__]["image_macs"], **reported.get(Spending.__name__, {}))

    @staticmethod
    def read(path: Path) -> Spent | None:
        """What cost.json in a run folder says; None where there is none.

        Raises:
            UserError: when it is broken.
        """
        if not path.exists():
            return None
        try:
            return Spent(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            raise UserError(
                f"{path} is broken: it must hold image_macs, seconds and cpu_seconds; remove it to"
                " do without"
            ) from None

    def write(self, path: Path) -> None:
        """Write cost.json."""
        write_atomic(path, (json.dumps(asdict(self), indent=1) + "\n").encode())

    def plus_scoring(self, image_macs: float, seconds: float) -> Spent:
        """With images that were only run, in one process."""
        return dataclasses.replace(
            self,
            image_macs=self.image_macs + image_macs / FORWARD,
            seconds=None if self.seconds is None else self.seconds + seconds,
            cpu_seconds=None if self.cpu_seconds is None else self.cpu_seconds + seconds,
        )


class Spending(pl.Callback):
    """Keeps in the checkpoint how long a search has run, and adds what its end costs."""

    def __init__(self, health: Health) -> None:
        """``health`` counts what training and controller compute."""
        self.health = health
        self.final_image_macs = 0
        """Of the last choice, whose images are only run."""
        self._seconds = self._cpu_seconds = 0.0
        self._start_clocks()

    def _start_clocks(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start here: what came before, such as measuring the device, is not the search's."""
        self._start_clocks()

    def state_dict(self) -> dict[str, float]:
        """Seconds up to now."""
        return {
            "seconds": self._seconds + time.perf_counter() - self._wall,
            "cpu_seconds": self._cpu_seconds + time.process_time() - self._cpu,
        }

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on where a checkpoint was; called before ``on_fit_start``."""
        self._seconds, self._cpu_seconds = state_dict["seconds"], state_dict["cpu_seconds"]

    def score(self, space: MnasSpace, archs: Iterable[Arch], images: int) -> None:
        """The end of the search runs architectures on as many images each, on any process."""
        self.final_image_macs += images * sum(count(space.spec(arch)).macs for arch in archs)

    @property
    def spent(self) -> Spent:
        """Up to now."""
        trained = Spent(self.health.image_macs, **self.state_dict())
        return trained.plus_scoring(self.final_image_macs, 0.0)
