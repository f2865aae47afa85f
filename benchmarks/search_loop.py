"""What a search's loop takes beside a bare loop, and whether its memory grows.

``python -m benchmarks.search_loop`` runs uniform weight steps of the demo's search in this process
and, between them, steps of the same paths on a copy of its supernet, with a loader and an optimizer
of their own: a loop as one would write it, without Lightning, callbacks, metrics and files. It
prints the ratio of their CPU times. The status is 1 where it is above 1.03.

``--space benchmarks/gpu_check/small_space.yaml --steps 2000`` judges memory instead, on networks so
small that 2,000 steps take a minute: resident memory of the last tenth of the steps over that of
the middle tenth. The status is 1 where it grows by more than 5 MiB in 1,000 steps.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pytorch_lightning as pl

from benchmarks.record import machine, record
from search.callbacks import searching
from search.cli import search_callbacks
from search.module import SearchModule
from search.step import of_those_with_gradients
from supernet.command.process import run_command
from supernet.data.splits import Batch
from supernet.errors import UserError
from supernet.run.cli import CLI

LOOP_LIMIT, GROWTH_LIMIT = 1.03, 5.0
SHARE = 0.9
"""Of the steps, that train shared weights; the others tune the least networks of a search."""
LEAST_STEPS = 100
MIB = 2**20
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Memory of this process that lies in RAM."""
    return PAGE * int(Path("/proc/self/statm").read_text().split()[1])


class BareLoop(pl.Callback):
    """Makes each step of a search on a copy of its supernet too, and times both.

    It comes after all other callbacks, so that what they do is the search's.
    """

    def __init__(self) -> None:
        """Nothing was timed."""
        self.ratios: list[float] = []
        """Of each step: CPU time of the search over that of the bare step."""
        self.resident: list[int] = []
        """Bytes after each step."""
        self._bare = self._last = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Copy the supernet, and open the images again."""
        search = searching(pl_module)
        self.batches = search.data.endless_weights_batches()
        self.supernet = copy.deepcopy(search.supernet)
        self.optimizer = search.weights.optimizer(self.supernet, search.data.weights_batch_size)
        self._last = time.process_time()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """The bare step first, every other time: the second finds other data in the caches."""
        self.plan = searching(pl_module).plan()
        if self.plan.number % 2:
            self._time_bare(searching(pl_module))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """End the step of the search."""
        taken = time.process_time() - self._last - self._bare * (self.plan.number % 2)
        if not self.plan.number % 2:
            self._time_bare(searching(pl_module))
        self.ratios.append(taken / self._bare)
        self.resident.append(resident_bytes())
        self._last = time.process_time()

    def _time_bare(self, search: SearchModule) -> None:
        start = time.process_time()
        images, *known = search.moved(next(self.batches))
        logits = self.supernet(images, self.plan.path, self.plan.stream)
        search.loss(logits, *known).training.backward()
        with of_those_with_gradients(self.optimizer):
            search.weights.shorten_gradients(self.optimizer)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        self._bare = time.process_time() - start

    @property
    def ratio(self) -> float:
        """Median over the later half of the steps, when kernels have been made."""
        return median(self.ratios[len(self.ratios) // 2 :])

    @property
    def growth(self) -> float:
        """MiB in 1,000 steps, from the middle tenth of the steps to the last."""
        tenth = len(self.resident) // 10
        middle, last = self.resident[5 * tenth : 6 * tenth], self.resident[9 * tenth :]
        return (fmean(last) - fmean(middle)) / MIB / (4 * tenth) * 1000


def search_beside_bare_loop(options: argparse.Namespace, folder: Path) -> BareLoop:
    """Run the search, timed."""
    bare = BareLoop()
    settings = {
        "trainer.max_steps": options.steps,
        "model.cost": "macs",
        "model.target": "p50",
        "model.schedule.share": SHARE,
        "model.schedule.warmup": 0.0,
        "model.surrogate.networks": 2,
        "model.surrogate.first": 2,
        "model.surrogate.processes": 1,
        "model.final.candidates": 1,
        "model.final.measured": 0,
        "wandb.mode": "disabled",
    }
    settings |= {"model.space": options.space} if options.space else {}
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    sys.argv[1:] = ["fit", "-c", "configs/digits/search.yaml", "--run", str(folder), *words]
    CLI(SearchModule, "search", lambda run: [*search_callbacks(run), bare])
    return bare


def parse_options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300, help="of the whole search")
    parser.add_argument("--space", help="instead of the digits'; then memory alone is judged")
    options = parser.parse_args()
    if options.steps < LEAST_STEPS:
        raise UserError(f"--steps is {options.steps}, it must be at least {LEAST_STEPS}")
    return options


def main() -> None:
    """Print the machine and the verdict, and record them."""
    options = parse_options()
    with tempfile.TemporaryDirectory() as folder:
        bare = search_beside_bare_loop(options, Path(folder) / "run")
    print(f"# {machine()}")
    print(
        f"search's loop over a bare loop: {bare.ratio:.3f} (limit {LOOP_LIMIT}, on digits)\n"
        f"resident memory: {bare.resident[-1] / MIB:,.0f} MiB, {bare.growth:+.2f} MiB in 1,000"
        f" steps (limit {GROWTH_LIMIT}, on a small space)"
    )
    found = {"loop_ratio": bare.ratio, "growth_mib": bare.growth, "steps_timed": len(bare.ratios)}
    record("search_loop", vars(options), 0, {**found, "machine": machine()})
    sys.exit(bare.growth > GROWTH_LIMIT if options.space else bare.ratio > LOOP_LIMIT)


if __name__ == "__main__":
    run_command(main, trains=True)
