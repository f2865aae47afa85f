"""The supernet of a search's checkpoint, for measuring it or taking weights from it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from supernet.errors import UserError
from supernet.files.reading import read_as
from supernet.network.supernet import SuperNet
from supernet.space.mnasnet import MnasSpace


def load_supernet(path: str | Path) -> SuperNet:
    """Rebuild the supernet that a checkpoint of a search holds.

    Raises:
        UserError: when the file is missing, broken, or not of a search.
    """
    return rebuild_supernet(read_checkpoint(path), path)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint of a search; ``search`` tells of which, by space and seed.

    Raises:
        UserError: when the file is missing, broken, or not of a search.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        _ = checkpoint["search"]["space"], checkpoint["search"]["seed"], checkpoint["state_dict"]
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path} is no checkpoint of a search ({reason}): give a run's") from None
    return checkpoint


def rebuild_supernet(checkpoint: dict[str, Any], path: str | Path) -> SuperNet:
    """The supernet of a checkpoint that was read from ``path``.

    Raises:
        UserError: when it is of another version.
    """
    supernet = SuperNet(read_as(MnasSpace, checkpoint["search"]["space"], "space.", partial=True))
    own = {
        name.removeprefix("supernet."): tensor
        for name, tensor in checkpoint["state_dict"].items()
        if name.startswith("supernet.")
    }
    try:
        supernet.load_state_dict(own)
    except RuntimeError:
        raise UserError(
            f"{path} holds a supernet of another version: search again, or use the release that"
            " wrote it"
        ) from None
    return supernet
