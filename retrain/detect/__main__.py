"""``python -m retrain.detect fit -c configs/digits/detect.yaml --run runs/NAME --model.arch FILE``.

Trains a network with SSDLite on boxes, or tests it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from supernet.command.early import answer_early
from supernet.command.process import run_command
from supernet.run.folder import way_on

if TYPE_CHECKING:
    from pytorch_lightning.cli import ArgsType


def main(args: ArgsType = None) -> None:
    """Train a detector, or test it."""
    if args is None or isinstance(args, list):
        args = answer_early("retrain.detect", sys.argv[1:] if args is None else args)
    # Signals are answered while torch loads, which takes seconds.
    import pytorch_lightning as pl

    from retrain.cli import RetrainCLI, run_callbacks
    from retrain.detect.boxes_figure import BoxesFigure
    from retrain.detect.coco_boxes import CocoBoxes  # noqa: F401  short name for --data
    from retrain.detect.digit_boxes import DigitBoxes  # noqa: F401
    from retrain.detect.module import DetectionModule

    def callbacks(run: Path) -> Sequence[pl.Callback]:
        return [*run_callbacks(run, figure="map"), BoxesFigure(run)]

    RetrainCLI(DetectionModule, "retrain", callbacks, ("fit", "test"), args, "retrain.detect")


if __name__ == "__main__":
    run_command(main, way_on(sys.argv[1:]), trains=True)
