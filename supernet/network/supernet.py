"""SuperNet(space): the weights that all candidates share, and their file, a search's checkpoint."""

import functools
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from supernet.errors import UserError
from supernet.files.reading import read_as
from supernet.network.checkpoint import load_checkpoint
from supernet.network.convolution import convolve
from supernet.network.elastic import ElasticLayer, ElasticNorm
from supernet.network.functional import (
    Taken,
    Weights,
    batch_norm,
    prefix,
    slices_taken,
    submodule_weights,
    whole,
)
from supernet.network.network import Network, PaddedConv, initialise
from supernet.space.arch import Arch, Path
from supernet.space.mnasnet import MnasSpace
from supernet.space.stage import Layer


class SuperNet(nn.Module):
    """Shared weights of every network of a space; a path is run at its own cost.

    Batch norms use batch statistics always (TuNAS, stateless BN): running statistics would mix
    paths. Extract and ``recalibrate`` for a network with statistics of its own.

    Examples:
        >>> import torch
        >>> from supernet.space.mnasnet import MnasSpace
        >>> space = MnasSpace(width=0.1, head=32, resolution=16, classes=10)
        >>> supernet, arch = SuperNet(space), next(space.samples(seed=0))
        >>> supernet(torch.zeros(2, 3, 16, 16), arch).shape
        torch.Size([2, 10])
    """

    EPS = 1e-3

    def __init__(self, space: MnasSpace) -> None:
        super().__init__()
        self.space = space
        stem = space.stem_filters
        self.conv_stem = PaddedConv(3, stem, 3, space.stem_stride)
        self.stem_norm = ElasticNorm(stem)
        widths = [
            space.block_filters(n, max(one["filters"])) for n, one in enumerate(space.choices)
        ]
        # Lists, whose types are known; the modules under the public name hold the same ones.
        self._stages = [
            self._stage(block, inputs, outputs)
            for block, (inputs, outputs) in enumerate(zip([stem, *widths], widths, strict=False))
        ]
        self.blocks = nn.ModuleList(map(nn.ModuleList, self._stages))
        self.conv_head = nn.Parameter(
            torch.randn(space.head, widths[-1], 1, 1) * math.sqrt(2 / widths[-1])
        )
        self.head_norm = ElasticNorm(space.head)
        self.classifier = nn.Linear(space.head, space.classes)
        initialise(self.conv_stem)
        initialise(self.classifier)

    def _stage(self, block: int, inputs: int, outputs: int) -> list[ElasticLayer]:
        choices = self.space.choices[block]
        depth = self.space.block_layers(block, max(choices["layers"]))
        kernel, se = max(choices["kernel"]), max(choices["se"])
        return [
            ElasticLayer(choices["op"], inputs if index == 0 else outputs, outputs, kernel, se)
            for index in range(depth)
        ]

    def _path(self, path: Path) -> Iterator[tuple[str, ElasticLayer, Layer]]:
        """Name in the Network, shared tensors and variant of every layer of a path."""
        layers = _stage_layers(self.space, path)
        for number, (stage, variants) in enumerate(zip(self._stages, layers, strict=True)):
            # A shallower path takes the first layers of a stage, as a narrower one its first
            # channels: all depths then train the layer that strides.
            for index, (elastic, layer) in enumerate(zip(stage, variants, strict=False)):
                yield f"blocks.{number}.{index}", elastic, layer

    def forward(self, x: Tensor, path: Path, stream: float = 0.0) -> Tensor:
        """Logits (B, classes) of images (B, 3, H, W) on one path.

        ``stream`` in [0, 1] is the weight of the shortcuts that all ops share; at 0 an Arch
        computes exactly what its extracted Network computes.
        """
        x = self._norm_relu(self.conv_stem(x), self.stem_norm)
        for _, elastic, layer in self._path(path):
            x = elastic(x, layer, self.EPS, stream)
        x = self._norm_relu(convolve(x, self._head_weight(x.shape[1])), self.head_norm)
        return self.classifier(x.mean((2, 3)))

    def _head_weight(self, inputs: int) -> Tensor:
        return prefix(self.conv_head, self.space.head, inputs)

    def ends(self, path: Path) -> Taken:
        """Slices of the weights outside of all layers that a path trains."""
        parts = (self.conv_stem, self.stem_norm, self.head_norm, self.classifier)
        with slices_taken() as taken:
            self._head_weight(self.space.spec(path).stages[-1].filters)
        return taken + [(one, whole(one)) for part in parts for one in part.parameters()]

    def layers(self, path: Path) -> Iterator[tuple[ElasticLayer, Layer]]:
        """Shared tensors and variant of every layer of a path."""
        for _, elastic, layer in self._path(path):
            yield elastic, layer

    def _norm_relu(self, x: Tensor, norm: ElasticNorm) -> Tensor:
        return batch_norm(x, norm.weight, norm.bias, self.EPS).relu_()

    def no_weight_decay(self) -> set[str]:
        """Norms and biases, which timm takes for weights where two numbers index them."""
        norms = {
            f"{place}.{name}"
            for place, module in self.named_modules()
            if isinstance(module, ElasticNorm)
            for name in ("weight", "bias")
        }
        return norms | {name for name, _ in self.named_parameters() if name.endswith("bias")}

    def path_weights(self, arch: Arch) -> Weights:
        """The slices that ``arch`` uses, as a state dict of ``Network`` without statistics."""
        weights = {
            "conv_stem.weight": self.conv_stem.weight,
            **self.stem_norm.pick("bn1"),
            "conv_head.weight": self._head_weight(self.space.spec(arch).stages[-1].filters),
            **self.head_norm.pick("bn2"),
            "classifier.weight": self.classifier.weight,
            "classifier.bias": self.classifier.bias,
        }
        for place, elastic, layer in self._path(arch):
            weights |= {f"{place}.{name}": w for name, w in elastic.weights(layer).items()}
        return weights

    @torch.no_grad()
    def extract(self, arch: Arch) -> Network:
        """A standalone copy of one network; its running statistics await ``recalibrate``.

        Examples:
            >>> from supernet.space.mnasnet import MnasSpace
            >>> space = MnasSpace(width=0.1, head=32, resolution=16, classes=10)
            >>> arch = next(space.samples(seed=0))
            >>> network = SuperNet(space).extract(arch)
            >>> network.spec == space.spec(arch)
            True
        """
        network = Network(self.space.spec(arch)).to(self.conv_head)
        state = network.state_dict()
        state.update(self.path_weights(arch))
        network.load_state_dict(state)
        return network.train(self.training)


@functools.lru_cache(maxsize=4096)
def _stage_layers(space: MnasSpace, path: Path) -> tuple[tuple[Layer, ...], ...]:
    return tuple(tuple(layers) for layers in space.spec(path).stage_layers())


def load_supernet(path: str | pathlib.Path) -> SuperNet:
    """The supernet that a checkpoint of a search holds.

    Raises:
        UserError: when the file is missing, broken, or not of a search.
    """
    return rebuild_supernet(read_checkpoint(path), path)


def read_checkpoint(path: str | pathlib.Path) -> dict[str, Any]:
    """The content of a checkpoint of a search; ``search`` tells of which, by space and seed.

    Raises:
        UserError: when the file is missing, broken, or not of a search.
    """
    try:
        checkpoint = load_checkpoint(path)
        _ = checkpoint["search"]["space"], checkpoint["search"]["seed"], checkpoint["state_dict"]
    except Exception as error:  # noqa: BLE001 - torch.load raises whatever a broken file causes
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path} is no checkpoint of a search ({reason}): give a run's") from None
    return checkpoint


def rebuild_supernet(checkpoint: dict[str, Any], path: str | pathlib.Path) -> SuperNet:
    """The supernet of a checkpoint that was read from ``path``.

    Raises:
        UserError: when its weights were never trained, or it is of another version.
    """
    if checkpoint["search"].get("steps_done") == 0:
        raise UserError(
            f"{path} holds no shared weights, as its search has trained none: search with"
            " --model.schedule.share 0.15"
        )
    supernet = SuperNet(read_as(MnasSpace, checkpoint["search"]["space"], "space.", partial=True))
    try:
        supernet.load_state_dict(submodule_weights(checkpoint["state_dict"], "supernet."))
    except (RuntimeError, AttributeError, TypeError):
        raise UserError(
            f"{path} holds a supernet of another version: search again, or use the release that"
            " wrote it"
        ) from None
    return supernet
