"""``python -m retrain.detect fit -c configs/digits/detect.yaml --run runs/NAME --model.arch FILE``.

Trains a network with SSDLite on boxes, or tests it.
"""

from functools import partial

from pytorch_lightning.cli import ArgsType

from retrain.cli import RetrainCLI, run_callbacks
from retrain.detect.digit_boxes import DigitBoxes  # noqa: F401  short name for --data.class_path
from retrain.detect.module import DetectionModule
from supernet.command.process import run_command
from supernet.run.folder import WAY_ON


def main(args: ArgsType = None) -> None:
    """Train a detector, or test it."""
    callbacks = partial(run_callbacks, figure="map")
    RetrainCLI(DetectionModule, "retrain", callbacks, ("fit", "test"), args, "retrain.detect")


if __name__ == "__main__":
    run_command(main, WAY_ON, trains=True)
