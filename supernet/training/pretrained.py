"""Pretrained weights under timm's names: its own, of its cache or the network, or a file's."""

from pathlib import Path

import timm
from timm.models import is_model_pretrained, load_state_dict
from torch import nn

from supernet.errors import UserError, one_line
from supernet.network.functional import Weights
from supernet.timm_arch import timm_names

MAX_REASON = 200
"""Letters of what timm, torch or a hub says that are shown."""


def timm_name(arch: str) -> str:
    """The name in timm of a published network of which it has trained weights.

    Raises:
        UserError: with the published names that have some, when ``arch`` has none.
    """
    trained = {ours: theirs for ours, theirs in timm_names().items() if is_model_pretrained(theirs)}
    name = arch.removesuffix("_100")
    if name not in trained:
        raise UserError(
            f"timm has no trained weights of {arch}, only of {', '.join(trained)}: give one of"
            " these as arch, or another init"
        )
    return trained[name]


def fetched_model(name: str, way_out: str, num_classes: int | None = None) -> nn.Module:
    """A model of timm with its trained weights.

    Args:
        name: in timm.
        way_out: what to do without a network connection.
        num_classes: of its classifier, 0 for none; by default its own.

    Raises:
        UserError: when neither the cache nor the network has the weights.
    """
    try:
        return timm.create_model(name, pretrained=True, num_classes=num_classes)
    except Exception as error:  # noqa: BLE001 - every layer of a download raises its own
        raise UserError(
            f"timm's weights {name} cannot be fetched ({reason_of(error)}): start once where there"
            " is a network connection and keep the cache (HF_HOME names its folder), or"
            f" {way_out}"
        ) from None


def weights_of_file(file: Path, way_out: str) -> Weights:
    """What a file of weights holds, ``.safetensors`` or torch's, under the names that it has.

    Raises:
        UserError: when it holds none, ending in ``way_out``.
    """
    try:
        return load_state_dict(str(file))
    except Exception as error:  # noqa: BLE001 - a broken file may raise anything
        raise UserError(f"{file} holds no weights ({reason_of(error)}): {way_out}") from None


def reason_of(error: Exception) -> str:
    """What a library says of its failure, in a line; torch goes on with ways to trust a file."""
    return one_line(f"{type(error).__name__}: {error}").partition(". ")[0][:MAX_REASON]
