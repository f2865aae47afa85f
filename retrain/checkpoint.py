"""The network of a retraining's checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch

from supernet.errors import UserError
from supernet.network.network import Network
from supernet.space.spec import NetSpec


def checkpoint_path(run: Path, checkpoint: str) -> Path:
    """Find a checkpoint of a run.

    Args:
        run: folder of a retraining.
        checkpoint: ``best``, ``last`` or a file.

    Raises:
        UserError: when there is none.
    """
    if not run.is_dir():
        raise UserError(f"no run in {run}: name the folder of a retraining, such as runs/NAME")
    named = checkpoint in ("best", "last")
    path = run / "checkpoints" / f"{checkpoint}.ckpt" if named else Path(checkpoint)
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}: give best, last or a file")
    return path


def load_network(path: Path) -> Network:
    """Rebuild a trained network from its checkpoint alone; averaged weights where there are any.

    Raises:
        UserError: when the file is no checkpoint of a retraining.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        network = Network(NetSpec.from_json(checkpoint["spec"]))
        # Where weights are averaged, state_dict is the average (Lightning's WeightAveraging).
        prefix = "network."
        network.load_state_dict(
            {
                name.removeprefix(prefix): value
                for name, value in checkpoint["state_dict"].items()
                if name.startswith(prefix)
            }
        )
    except Exception as error:  # noqa: BLE001 - torch.load raises whatever a broken file causes
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{path} is not a whole checkpoint of a retraining ({type(error).__name__}: {reason}):"
            " give another checkpoint"
        ) from None
    return network.eval()
