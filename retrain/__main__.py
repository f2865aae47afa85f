"""``python -m retrain fit -c configs/digits/retrain.yaml --model.arch FILE --run runs/NAME``."""

from pytorch_lightning.cli import ArgsType

from retrain.cli import RetrainCLI, run_callbacks
from retrain.module import RetrainModule
from supernet.command.process import run_command
from supernet.run.folder import WAY_ON


def main(args: ArgsType = None) -> None:
    """Train an architecture from scratch, or test it."""
    RetrainCLI(RetrainModule, "retrain", run_callbacks, verbs=("fit", "test"), args=args)


if __name__ == "__main__":
    run_command(main, WAY_ON, trains=True)
