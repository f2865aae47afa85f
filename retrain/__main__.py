"""``python -m retrain fit -c configs/digits/retrain.yaml --model.arch FILE --run runs/NAME``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from supernet.command.early import answer_early
from supernet.command.process import run_command
from supernet.run.folder import way_on

if TYPE_CHECKING:
    from pytorch_lightning.cli import ArgsType


def main(args: ArgsType = None) -> None:
    """Train an architecture from scratch, or test it."""
    if args is None or isinstance(args, list):
        args = answer_early("retrain", sys.argv[1:] if args is None else args)
    # Signals are answered while torch loads, which takes seconds.
    from retrain.cli import RetrainCLI, run_callbacks
    from retrain.module import RetrainModule

    RetrainCLI(RetrainModule, "retrain", run_callbacks, verbs=("fit", "test"), args=args)


if __name__ == "__main__":
    run_command(main, way_on(sys.argv[1:]), trains=True)
