"""TrainedNetwork: what a retraining's checkpoint holds of its network."""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from supernet.data_description import DataDescription
from supernet.errors import UserError, one_line
from supernet.files.reading import typed
from supernet.network.functional import Weights, submodule_weights
from supernet.network.network import Network
from supernet.space.spec import NetSpec


@dataclass(frozen=True)
class TrainedNetwork:
    """A network, its weights and what is known of it.

    Raises:
        UserError: when the data have other classes than the network.
    """

    spec: NetSpec
    weights: Weights
    """Averaged ones where there are any."""
    data: DataDescription | None
    """Images that it was trained on; None in a checkpoint of version 0.1, which does not tell."""
    figures: Mapping[str, float]
    """Validation figures of these very weights, such as ``accuracy``; empty where they were not
    judged."""
    versions: Mapping[str, str]
    """Versions of the packages that trained it."""
    ssdlite: Mapping[str, Any] | None
    """Settings of the detector that it is the backbone of, None in a classifier."""

    def __post_init__(self) -> None:
        """Refuse names of other classes than the classifier's."""
        if self.data and len(self.data.classes) != self.spec.classes:
            raise UserError(
                f"data.classes names {len(self.data.classes)} classes, its network has"
                f" {self.spec.classes}"
            )

    def network(self, path: Path) -> Network:
        """The classifier in evaluation mode; ``path`` names its file in an error.

        Raises:
            UserError: when the weights are of another network.
        """
        network = Network(self.spec)
        try:
            network.load_state_dict(self.weights)
        except RuntimeError as error:
            raise broken_checkpoint(path, error) from None
        return network.eval()


def read_trained(path: Path) -> TrainedNetwork:
    """What the checkpoint of a retraining holds of its network.

    Raises:
        UserError: when the file is no checkpoint of a retraining.
    """
    try:
        return _trained(load_checkpoint(path))
    except Exception as error:  # noqa: BLE001 - torch.load raises whatever a broken file causes
        raise broken_checkpoint(path, error) from None


def load_checkpoint(path: str | Path) -> Any:
    """Content of a checkpoint: tensors and plain values, on the CPU; nothing of it is run.

    torch compares no checksums: a tensor that a disk has changed would be taken as it is.

    Raises:
        ValueError: when a part is not as it was written.
        Exception: whatever torch raises of a file that is broken, or no checkpoint.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} is not as it was written")
    return torch.load(path, map_location="cpu", weights_only=True)


def load_network(path: Path) -> Network:
    """Rebuild a trained classifier from its checkpoint alone.

    Raises:
        UserError: when the file is no checkpoint of a retraining.
    """
    return read_trained(path).network(path)


def _trained(checkpoint: dict[str, Any]) -> TrainedNetwork:
    data, judged = checkpoint.get("data"), checkpoint.get("validation")
    return TrainedNetwork(
        NetSpec.from_json(checkpoint["spec"]),
        # Where weights are averaged, state_dict is the average (Lightning's WeightAveraging).
        submodule_weights(checkpoint["state_dict"], "network."),
        None if data is None else typed("data", data, DataDescription),
        {} if judged is None else typed("validation", judged, Mapping[str, float]),
        typed("versions", checkpoint.get("versions", {}), Mapping[str, str]),
        checkpoint.get("ssdlite"),
    )


def broken_checkpoint(path: Path, error: Exception) -> UserError:
    """What is said of a file that no network can be made of."""
    # torch goes on with ways to load what must not be trusted.
    reason = one_line(error).partition(". ")[0][:120]
    return UserError(
        f"{path} is not a whole checkpoint of a retraining ({type(error).__name__}: {reason}):"
        " give another checkpoint"
    )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits, by which a report names what it is about."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
