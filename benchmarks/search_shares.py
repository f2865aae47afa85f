"""What shares of a search's CPU time its parts take: weight steps, tunings, scoring, controller.

``python -m benchmarks.search_shares`` runs the demo's search in this process and prints the CPU
time of each part over that of the whole, from the start of its fit to its arch.json; parts within
others count once. Scoring is what rewards proposals: the surrogate and the costs, or slices with
``--score soft_accuracy``. The status is 1 where the controller takes more than 1 % of the search,
or scoring more than 5 %. By tunings the controller makes as many updates in a search of any length,
so that a longer one has the smaller share.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytorch_lightning as pl

import search.step
import search.surrogate.rounds
from benchmarks.record import machine, record
from search.cli import search_callbacks
from search.module import SearchModule
from search.selection.device_times import DeviceTimes
from search.surrogate.rounds import Rounds
from search.surrogate.surrogate import Surrogate
from search.surrogate.tunings import Tunings
from supernet.command.output import new_table, print_table
from supernet.command.process import run_command
from supernet.errors import UserError
from supernet.run.cli import CLI

LIMITS = {"controller": 0.01, "scoring": 0.05}
CONTROLLER = ("propose", "learn", "finalists", "preferences")
"""Calls of a controller."""
OTHERS = (
    (SearchModule, "training_step", "weight steps"),
    (Tunings, "of", "tunings"),
    (Surrogate, "fit", "fits of the surrogate"),
    (Rounds, "proposals", "local search of proposals"),
    (DeviceTimes, "measure", "timing the finalists"),
    (search.step, "score_rows", "scoring"),
    (search.surrogate.rounds, "score_rows", "scoring"),
)
"""Other calls, by what they are counted as."""


class Stopwatch(pl.Callback):
    """CPU time of a search and of its parts, each without the parts within it."""

    def __init__(self) -> None:
        """Nothing was timed."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.began = self.ended = 0.0
        self._inner = [0.0]

    @contextlib.contextmanager
    def timing(self) -> Iterator[None]:
        """A context in which the parts of a search that is not its controller's are timed."""
        with contextlib.ExitStack() as stack:
            for owner, name, part in OTHERS:
                timed = self._timed(getattr(owner, name), part)
                stack.enter_context(mock.patch.object(owner, name, timed))
            yield

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Time every call of the controller from now on."""
        controller: Any = pl_module.controller
        for name in CONTROLLER:
            setattr(controller, name, self._timed(getattr(controller, name), "controller"))
        self.seconds.clear()
        self.began = time.process_time()

    def _timed(self, call: Callable[..., Any], part: str) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            self._inner.append(0.0)
            try:
                return call(*args, **kwargs)
            finally:
                taken, within = time.process_time() - start, self._inner.pop()
                self.seconds[part] += taken - within
                self._inner[-1] += taken

        return timed

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After the last choice, as this callback is the last."""
        self.ended = time.process_time()

    @property
    def shares(self) -> dict[str, float]:
        """Share of the search by part, the rest included; they add up to 1."""
        whole = self.ended - self.began
        rest = whole - sum(self.seconds.values())
        return {part: taken / whole for part, taken in [*self.seconds.items(), ("rest", rest)]}


def timed_search(options: argparse.Namespace, folder: Path) -> Stopwatch:
    """Run the search, timed."""
    watch = Stopwatch()
    words = ["fit", "-c", str(options.config), "--run", str(folder), "--wandb.mode", "disabled"]
    words += ["--model.surrogate.processes", "1"]  # what others spend is not seen
    words += ["--trainer.max_steps", str(options.steps)] if options.steps else []
    words += ["--model.controller.kind", options.controller] if options.controller else []
    words += ["--model.sampling.score", options.score] if options.score else []
    sys.argv[1:] = words  # Lightning warns of other words beside its own
    with watch.timing():
        CLI(SearchModule, "search", lambda run: [*search_callbacks(run), watch])
    return watch


def parse_options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-c", "--config", type=Path, default=Path("configs/digits/search.yaml"))
    parser.add_argument("--steps", type=int, help="of the search, instead of the config's")
    parser.add_argument("--controller", help="kind, instead of the config's")
    parser.add_argument("--score", help="what it is rewarded by, instead of the config's")
    options = parser.parse_args()
    if options.steps is not None and options.steps < 1:
        raise UserError(f"--steps is {options.steps}, it must be at least 1")
    return options


def main() -> None:
    """Print the machine and the shares, and record them."""
    options = parse_options()
    with tempfile.TemporaryDirectory() as folder:
        watch = timed_search(options, Path(folder) / "run")
    print(f"# {machine()}")
    table = new_table("part", "share of the CPU time", "limit", left={"part"})
    for part, share in sorted(watch.shares.items(), key=lambda one: -one[1]):
        table.add_row(part, f"{share:.2%}", f"{LIMITS[part]:.0%}" if part in LIMITS else "")
    print_table(table)
    config = {name: value and str(value) for name, value in vars(options).items()}
    found = {part: round(share, 5) for part, share in watch.shares.items()}
    whole = round(watch.ended - watch.began, 1)
    record("search_shares", config, 0, {**found, "search_s": whole, "machine": machine()})
    sys.exit(any(found.get(part, 0.0) > limit for part, limit in LIMITS.items()))


if __name__ == "__main__":
    run_command(main, trains=True)
