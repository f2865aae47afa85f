"""What share of a search's CPU time its controller takes.

``python -m benchmarks.controller_cost`` runs the demo's search in this process and prints the CPU
time of proposing and of learning over that of the whole search, from the start of its fit to its
arch.json. The status is 1 where the controller takes more than 10 % of the search. By tunings it
makes as many updates in a search of any length, so that a longer one has the smaller share.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from benchmarks.record import machine, record
from search.cli import search_callbacks
from search.module import SearchModule
from supernet.command.process import run_command
from supernet.errors import UserError
from supernet.run.cli import CLI

LIMIT = 0.1
PARTS = {"propose": "proposing", "learn": "learning", "finalists": "proposing"}
"""What the calls of a controller are counted as."""


class Stopwatch(pl.Callback):
    """CPU time of a search and of its controller."""

    def __init__(self) -> None:
        """Nothing was timed."""
        self.controller = dict.fromkeys(PARTS.values(), 0.0)
        self.began = self.ended = 0.0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Time every call of the controller from now on."""
        controller = pl_module.controller
        for name, part in PARTS.items():
            setattr(controller, name, partial(self._timed, getattr(controller, name), part))
        self.began = time.process_time()

    def _timed(self, call: Callable[..., Any], part: str, *args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        result = call(*args, **kwargs)
        self.controller[part] += time.process_time() - start
        return result

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After the last choice, as this callback is the last."""
        self.ended = time.process_time()


def search(options: argparse.Namespace, folder: Path) -> Stopwatch:
    """Run the search, timed."""
    watch = Stopwatch()
    words = ["fit", "-c", str(options.config), "--run", str(folder), "--wandb.mode", "disabled"]
    words += ["--trainer.max_steps", str(options.steps)] if options.steps else []
    words += ["--model.controller.kind", options.controller] if options.controller else []
    sys.argv[1:] = words  # Lightning warns of other words beside its own
    CLI(SearchModule, "search", lambda run: [*search_callbacks(run), watch])
    return watch


def result_of(watch: Stopwatch) -> dict[str, float]:
    """Seconds and shares."""
    whole, taken = watch.ended - watch.began, sum(watch.controller.values())
    return {
        **{f"{part}_s": seconds for part, seconds in watch.controller.items()},
        "search_s": whole,
        "share": taken / whole,
    }


def parse_options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-c", "--config", type=Path, default=Path("configs/digits/search.yaml"))
    parser.add_argument("--steps", type=int, help="of the search, instead of the config's")
    parser.add_argument("--controller", help="kind, instead of the config's")
    options = parser.parse_args()
    if options.steps is not None and options.steps < 1:
        raise UserError(f"--steps is {options.steps}, it must be at least 1")
    return options


def main() -> None:
    """Print the machine and the shares, and record them."""
    options = parse_options()
    with tempfile.TemporaryDirectory() as folder:
        result = result_of(search(options, Path(folder) / "run"))
    print(f"# {machine()}")
    print(
        f"proposing {result['proposing_s']:.2f} s, learning {result['learning_s']:.2f} s of"
        f" {result['search_s']:.1f} s in all\n"
        f"controller: {result['share']:.2%} of the search (limit {LIMIT:.0%})"
    )
    config = {name: value and str(value) for name, value in vars(options).items()}
    record("controller_cost", config, 0, {name: round(value, 4) for name, value in result.items()})
    sys.exit(result["share"] > LIMIT)


if __name__ == "__main__":
    run_command(main, trains=True)
