"""First weights of a training: fresh, timm's, a supernet's or those of a retraining."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import nn

from supernet.arch_file import is_file_name, load_spec, read_arch
from supernet.command.output import say
from supernet.errors import UserError
from supernet.network.checkpoint import load_network
from supernet.network.functional import Weights
from supernet.network.network import Network
from supernet.network.supernet import load_supernet
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec
from supernet.training.pretrained import fetched_model, timm_name, weights_of_file

SHAPELESS = ("classes", "resolution", "stem_stride")
"""Settings on which no weight but the classifier's depends."""


class WarmStart:
    """Where the first weights of a network come from; nothing is read before they are asked for."""

    def __init__(self, init: str, arch: str, trained_as: NetSpec | None = None) -> None:
        """Check what can be known without reading or fetching anything.

        Args:
            init: ``scratch``; ``timm``, the weights that timm has of a published network;
                ``timm:FILE``, such weights of a file, as timm reads and writes them;
                ``supernet:FILE``, the slice of a search's checkpoint that ``arch`` uses; or, for a
                network that is part of something larger, a retraining's checkpoint.
            arch: an arch.json or a published name.
            trained_as: that part, where a retraining's checkpoint is allowed.

        Raises:
            UserError: when ``init`` is none of these, or ``arch`` has no such weights.
        """
        self.init = init
        kind, _, file = init.partition(":")
        self.supernet = file if kind == "supernet" else ""
        """Checkpoint of the search whose weights these are; empty for others."""
        self.origin = f"from {init}"
        """Where the weights come from, in words that follow ``training ARCH``."""
        self.weights: Callable[[], Weights] = dict
        """Gives the first weights, under a Network's names; none leave the fresh ones."""
        if init == "timm":
            name = timm_name(arch)
            self.origin = f"from timm's weights {name}"
            self.weights = partial(timm_weights, name)
        elif kind == "timm" and file:
            self.weights = partial(given_weights, file, arch)
        elif self.supernet:
            if not is_file_name(arch):
                raise UserError(
                    f"init is {init}, but {arch} is a published network, which no search shares"
                    " weights for: give the arch.json that this search wrote, or init timm"
                )
            self.origin = f"from the shared weights of {file}"
            self.weights = partial(supernet_weights, file, arch)
        elif trained_as and init.endswith(".ckpt"):
            self.weights = partial(retrained_weights, Path(init), trained_as)
        elif init != "scratch":
            allowed = (
                "scratch, timm, timm:FILE, supernet:FILE and a retraining's checkpoint, such as"
                " runs/NAME/checkpoints/best.ckpt"
                if trained_as
                else "scratch, timm, timm:FILE and supernet:FILE, such as"
                " supernet:runs/SEARCH/checkpoints/last.ckpt"
            )
            raise UserError(f"init is {init!r}, allowed are {allowed}")


def load_by_name(weights: Weights, module: nn.Module) -> None:
    """Load all that a Network, or its first layers, has among the weights of a Network.

    A classifier of another number of classes stays fresh.
    """
    own = module.state_dict()
    given = {name: weights[name] for name in own}
    ours, theirs = (len(one.get("classifier.bias", ())) for one in (own, given))
    if ours != theirs:
        say(f"the classifier starts fresh: {ours} classes, where the weights have {theirs}")
        given |= {name: own[name] for name in ("classifier.weight", "classifier.bias")}
    module.load_state_dict(given)


def timm_weights(name: str) -> Weights:
    """Trained weights from timm's cache or the network; UserError where neither has them."""
    return fetched_model(name, "give init scratch").state_dict()


def given_weights(file: str, arch: str) -> Weights:
    """Weights of a network of the layers of ``arch`` from a file, ``.safetensors`` or torch's.

    Raises:
        UserError: when the file cannot be read or holds other layers.
    """
    way = "give weights of this very network under timm's names, or init scratch"
    if not Path(file).is_file():
        raise UserError(f"init is timm:{file}, but there is no such file: {way}")
    weights = weights_of_file(Path(file), way)
    own = Network(load_spec(arch)).state_dict()
    for name, value in own.items():
        held = weights.get(name)
        if held is None or (held.shape != value.shape and not name.startswith("classifier.")):
            there = "none" if held is None else f"{tuple(held.shape)}"
            raise UserError(
                f"{file} holds another network than {arch}: of {name} it has {there}, wanted is"
                f" {tuple(value.shape)}: {way}"
            )
    return weights


def supernet_weights(checkpoint: str, arch: str) -> Weights:
    """The slice of a search's supernet that an architecture of its space uses.

    The space of ``arch`` must be that of the ``checkpoint``, but for ``SHAPELESS`` settings.

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


def retrained_weights(path: Path, spec: NetSpec) -> Weights:
    """The weights of a retraining of the same layers as ``spec``, but for ``SHAPELESS`` settings.

    Raises:
        UserError: when the file holds no such network.
    """
    network = load_network(path)
    # A stride or a skip of another kind would fit, but compute something else.
    same = {name: getattr(spec, name) for name in (*SHAPELESS, "bn_momentum")}
    if dataclasses.replace(network.spec, **same) != spec:
        raise UserError(
            f"{path} holds another network than --model.arch: give the architecture that it was"
            " trained for, or another --model.init"
        )
    return network.state_dict()
