"""Where the first weights of a retraining come from: fresh, timm's or a supernet's."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import pytorch_lightning as pl
import timm
import torch
from pytorch_lightning.callbacks import WeightAveraging
from timm.models import is_model_pretrained
from torch import nn

from supernet.arch_file import is_file_name, read_arch
from supernet.command.output import say
from supernet.errors import UserError
from supernet.network.functional import Weights
from supernet.network.network import Network
from supernet.network.supernet import load_supernet
from supernet.run.distributed import steps_done
from supernet.space.mnasnet import MnasSpace
from supernet.timm_arch import timm_names

SHAPELESS = ("classes", "resolution", "stem_stride")
"""Settings of a space on which no shared weight but the classifier's depends."""


class WarmStart(pl.Callback):
    """Gives ``pl_module.network`` its first weights, when a training starts and at no other time.

    A run that goes on has its weights from its checkpoint, and so has a test: neither reads a file
    or the network connection. A classifier of another number of classes stays fresh.

    A supernet keeps no batch-norm statistics, and training gathers them: they are the mean over the
    first batches until ``bn_momentum`` is reached, so that nothing is left of a fresh network's
    mean 0 and variance 1, which would spoil the evaluations of a short training.
    """

    def __init__(self, init: str, arch: str) -> None:
        """Check what can be known without reading or fetching anything.

        Args:
            init: ``scratch``; ``timm``, the weights that timm has of a published network; or
                ``supernet:FILE``, the slice of a search's checkpoint that ``arch`` uses.
            arch: an arch.json or a published name.

        Raises:
            UserError: when ``init`` is none of these, or ``arch`` has no such weights.
        """
        self.init, self.arch = init, arch
        kind, _, self.checkpoint = init.partition(":")
        if init not in ("scratch", "timm") and not (kind == "supernet" and self.checkpoint):
            raise UserError(
                f"init is {init!r}, allowed are scratch, timm and supernet:FILE, such as"
                " supernet:runs/SEARCH/checkpoints/last.ckpt"
            )
        if init == "timm":
            pretrained_name(arch)
        if self.checkpoint and not is_file_name(arch):
            raise UserError(
                f"init is {init}, but {arch} is a published network, which no search shares weights"
                " for: give the arch.json that this search wrote, or init timm"
            )

    @property
    def origin(self) -> str:
        """Where the weights come from, in words that follow ``training ARCH``."""
        if self.init == "timm":
            return f"from timm's weights {pretrained_name(self.arch)}"
        return (
            f"from the shared weights of {self.checkpoint}" if self.checkpoint else "from scratch"
        )

    def weights(self) -> Weights:
        """The first weights, under a Network's names.

        Raises:
            UserError: when they cannot be fetched or read, or are not this architecture's.
        """
        if self.init == "timm":
            return fetch(pretrained_name(self.arch))
        return supernet_weights(self.checkpoint, self.arch)

    def give(self, module: pl.LightningModule) -> None:
        """Give ``module.network`` the weights."""
        load(self.weights(), cast(Network, module.network))

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Load them into ``pl_module.network``, and into the average of the weights."""
        # Lightning knows only from here on whether it continues a run; by now the averages have
        # copied the network as it was, and take what they would take from a checkpoint.
        if trainer.ckpt_path is None:
            self.give(pl_module)
            state = pl_module.state_dict()
            first = {
                "state_dict": state,
                "current_model_state": state,
                "averaging_state": {"n_averaged": torch.tensor(0)},
            }
            for callback in cast(Any, trainer).callbacks:
                if isinstance(callback, WeightAveraging):
                    callback.on_load_checkpoint(trainer, pl_module, first)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Weigh a supernet's first batches alike in the running statistics."""
        if self.checkpoint:
            network = cast(Network, pl_module.network)
            momentum = max(network.spec.bn_momentum, 1 / (steps_done(pl_module) + 1))
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = momentum


def load(weights: Weights, network: Network) -> None:
    """Load all weights but a classifier of another number of classes, which stays fresh."""
    own = network.state_dict()
    given, kept = len(weights["classifier.bias"]), len(own["classifier.bias"])
    if given != kept:
        fresh = {name: own[name] for name in ("classifier.weight", "classifier.bias")}
        weights = {**weights, **fresh}
        say(f"the classifier starts fresh: {kept} classes, where the weights have {given}")
    network.load_state_dict(weights)


def pretrained_name(arch: str) -> str:
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


def fetch(name: str) -> Weights:
    """The trained weights of one of timm's networks, from the cache or the network connection.

    Raises:
        UserError: when they are in neither.
    """
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # noqa: BLE001 - every layer of a download raises its own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UserError(
            f"timm's weights {name} cannot be fetched ({reason}): start once where there is a"
            " network connection and keep the cache (HF_HOME names its folder), or give init"
            " scratch"
        ) from None


def supernet_weights(checkpoint: str, arch: str) -> Weights:
    """The slice of a search's supernet that an architecture of its space uses.

    Args:
        checkpoint: of the search.
        arch: an arch.json. Its space must be the supernet's; only classes, resolution and stem
            stride may differ, since no other weight depends on them.

    Raises:
        UserError: when a file cannot be read, or naming the setting in which the spaces differ.
    """
    found, supernet = read_arch(arch), load_supernet(checkpoint)
    for field in dataclasses.fields(MnasSpace):
        shared, own = (getattr(space, field.name) for space in (supernet.space, found.space))
        if shared != own and field.name not in SHAPELESS:
            raise UserError(
                f"space.{field.name} is {own} in {arch}, but {shared} in {checkpoint}: give the"
                " checkpoint of the search that wrote this arch.json"
            )
    return supernet.extract(found.arch).state_dict()
