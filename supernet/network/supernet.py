"""SuperNet(space): the weights that all candidates share."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from supernet.network.elastic import ElasticLayer, ElasticNorm
from supernet.network.functional import Weights, batch_norm, convolve, prefix
from supernet.network.network import Network, _conv, initialise
from supernet.space.arch import Arch, Path
from supernet.space.mnasnet import MnasSpace
from supernet.space.stage import Layer


class SuperNet(nn.Module):
    """Shared weights of every network of a space; a path is run at its own cost.

    Batch norms use batch statistics always (TuNAS, stateless BN): running statistics would mix
    paths. Extract and ``recalibrate`` for a network with statistics of its own.
    """

    EPS = 1e-3

    def __init__(self, space: MnasSpace) -> None:
        """Allocate the largest network of ``space``."""
        super().__init__()
        self.space = space
        stem = space.stem_filters
        self.conv_stem = _conv(3, stem, 3, space.stem_stride)
        self.stem_norm = ElasticNorm(stem)
        widths = [
            max(space.block_filters(block, choice) for choice in choices["filters"])
            for block, choices in enumerate(space.choices)
        ]
        self.blocks = nn.ModuleList(
            self._stage(block, inputs, outputs)
            for block, (inputs, outputs) in enumerate(zip([stem, *widths], widths, strict=False))
        )
        self.conv_head = nn.Parameter(
            torch.randn(space.head, widths[-1], 1, 1) * math.sqrt(2 / widths[-1])
        )
        self.head_norm = ElasticNorm(space.head)
        self.classifier = nn.Linear(space.head, space.classes)
        initialise(self.conv_stem)
        initialise(self.classifier)

    def _stage(self, block: int, inputs: int, outputs: int) -> nn.ModuleList:
        choices = self.space.choices[block]
        depth = max(self.space.block_layers(block, choice) for choice in choices["layers"])
        kernel, se = max(choices["kernel"]), max(choices["se"])
        return nn.ModuleList(
            ElasticLayer(choices["op"], inputs if index == 0 else outputs, outputs, kernel, se)
            for index in range(depth)
        )

    def _path(self, path: Path) -> Iterator[tuple[str, ElasticLayer, Layer]]:
        """Name in the Network, shared tensors and variant of every layer of a path."""
        for number, layers in enumerate(_stage_layers(self.space, path)):
            for index, layer in enumerate(layers):
                stage = cast(nn.ModuleList, self.blocks[number])
                yield f"blocks.{number}.{index}", cast(ElasticLayer, stage[index]), layer

    def forward(self, x: Tensor, path: Path, stream: float = 0.0) -> Tensor:
        """Run one path.

        Args:
            x: images (B, 3, H, W).
            path: an Arch, or a warm-up path in which the op of a block is ``MIXED``.
            stream: weight in [0, 1] of the shortcuts that all ops share; at 0 an Arch computes
                exactly what its extracted Network computes.

        Returns:
            Logits (B, classes).
        """
        x = self._norm_relu(self.conv_stem(x), self.stem_norm)
        for _, elastic, layer in self._path(path):
            x = elastic(x, layer, self.EPS, stream)
        x = self._norm_relu(convolve(x, prefix(self.conv_head, None, x.shape[1])), self.head_norm)
        return self.classifier(x.mean((2, 3)))

    def _norm_relu(self, x: Tensor, norm: ElasticNorm) -> Tensor:
        return batch_norm(x, norm.weight, norm.bias, self.EPS).relu_()

    def no_weight_decay(self) -> set[str]:
        """Norms, which timm would take for weights where they are indexed by two numbers."""
        return {
            f"{place}.{name}"
            for place, module in self.named_modules()
            if isinstance(module, ElasticNorm)
            for name in ("weight", "bias")
        }

    def path_weights(self, arch: Arch) -> Weights:
        """The slices that ``arch`` uses, as a state dict of ``Network`` without statistics."""
        weights = {
            "conv_stem.weight": self.conv_stem.weight,
            **self.stem_norm.pick("bn1"),
            "conv_head.weight": prefix(
                self.conv_head, None, self.space.spec(arch).stages[-1].filters
            ),
            **self.head_norm.pick("bn2"),
            "classifier.weight": self.classifier.weight,
            "classifier.bias": self.classifier.bias,
        }
        for place, elastic, layer in self._path(arch):
            weights |= {f"{place}.{name}": w for name, w in elastic.weights(layer).items()}
        return weights

    @torch.no_grad()
    def extract(self, arch: Arch) -> Network:
        """A standalone copy of one network; its running statistics await ``recalibrate``."""
        network = Network(self.space.spec(arch)).to(self.conv_head)
        state = network.state_dict()
        state.update(self.path_weights(arch))
        network.load_state_dict(state)
        return network.train(self.training)


@functools.lru_cache(maxsize=4096)
def _stage_layers(space: MnasSpace, path: Path) -> tuple[tuple[Layer, ...], ...]:
    return tuple(tuple(layers) for layers in space.spec(path).stage_layers())
