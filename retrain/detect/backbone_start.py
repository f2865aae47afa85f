"""Where the first weights of a detector's backbone come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
from torch import nn

from retrain.checkpoint import load_network
from retrain.warm_start import WarmStart
from supernet.errors import UserError
from supernet.network.functional import Weights
from supernet.network.network import Network
from supernet.space.spec import NetSpec

CLASSIFIERS_OWN = ("resolution", "classes", "stem_stride", "bn_momentum")
"""Fields of a NetSpec on which no weight but the classifier's depends."""


class BackboneStart(WarmStart):
    """Gives a detector's backbone its first weights: those of a retraining too.

    The classifier is left out, and so is the head convolution where no feature map comes from it.
    Extra maps and heads start fresh.
    """

    def __init__(self, init: str, arch: str, spec: NetSpec) -> None:
        """Check what can be known without reading or fetching anything.

        Args:
            init: ``scratch``, ``timm`` or ``supernet:FILE``, as in a retraining; or the checkpoint
                of a retraining, such as ``runs/NAME/checkpoints/best.ckpt``.
            arch: an arch.json or a published name.
            spec: the network that gets the weights.

        Raises:
            UserError: when ``init`` is none of these, or ``arch`` has no such weights.
        """
        self.spec = spec
        known = init in ("scratch", "timm") or init.startswith("supernet:")
        if not known and not init.endswith(".ckpt"):
            raise UserError(
                f"init is {init!r}, allowed are scratch, timm, supernet:FILE and a retraining's"
                " checkpoint, such as runs/NAME/checkpoints/best.ckpt"
            )
        self.trained = "" if known else init
        super().__init__("scratch" if self.trained else init, arch)
        self.init = init

    @property
    def origin(self) -> str:
        """Where the weights come from, in words that follow ``training ARCH``."""
        return f"from {self.trained}" if self.trained else super().origin

    def weights(self) -> Weights:
        """The first weights, under a Network's names.

        Raises:
            UserError: when they cannot be fetched or read, or are not this architecture's.
        """
        return trained_weights(Path(self.trained), self.spec) if self.trained else super().weights()

    def give(self, module: pl.LightningModule) -> None:
        """Give the backbone of ``module.network`` its weights."""
        features = cast(nn.Module, cast(nn.Module, module.network).backbone).features
        load_trunk(self.weights(), cast(nn.Module, features))


def load_trunk(weights: Weights, trunk: nn.Module) -> None:
    """Load those weights that the trunk has, which must find every one of its own."""
    trunk.load_state_dict({name: weights[name] for name in trunk.state_dict()})


def trained_weights(path: Path, spec: NetSpec) -> Weights:
    """The weights of a retraining of the same layers.

    Args:
        path: its checkpoint.
        spec: the network that gets them; resolution, classes and stem stride may differ.

    Raises:
        UserError: when the file holds no such network.
    """
    network: Network = load_network(path)
    # A stride or a skip of another kind would fit, but compute something else.
    same = {name: getattr(spec, name) for name in CLASSIFIERS_OWN}
    if replace(network.spec, **same) != spec:
        raise UserError(
            f"{path} holds another network than --model.arch: give the architecture that it was"
            " trained for, or another --model.init"
        )
    return network.state_dict()
