"""Network(spec), what a user ships, and SuperNet(space), the weights that all candidates share.

Module names of a Network are timm's (``conv_stem``, ``blocks.i.j.conv_pw``, ``conv_head``, ...),
so that state dicts travel between the two.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from typing import cast

import torch

# timm.layers.SqueezeExcite names its convolutions fc1, fc2; timm's MnasNets use this one.
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn
from torch.nn import functional

from supernet.arch import Arch, Path
from supernet.elastic import ElasticLayer, ElasticNorm
from supernet.layers import Weights, batch_norm, convolve, prefix, shortcut
from supernet.space import MnasSpace
from supernet.spec import NetSpec
from supernet.stage import Layer

ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6}


class Block(nn.Module):
    """One layer of a stage: conv, sepconv or mbconv with its shortcut (MnasNet, figure 4)."""

    def __init__(self, layer: Layer, spec: NetSpec) -> None:
        """Build the convolutions that the op needs, in the order in which they run."""
        super().__init__()
        self.layer = layer
        self.act = ACTIVATIONS[spec.activation](inplace=True)
        hidden, kernel, stride = layer.hidden, layer.kernel, layer.stride

        def norm(channels: int) -> nn.BatchNorm2d:
            return nn.BatchNorm2d(channels, spec.bn_eps, spec.bn_momentum)

        if layer.op == "conv":
            self.conv = _conv(layer.inputs, hidden, kernel, stride)
            self.bn1 = norm(hidden)
        elif layer.op == "sepconv":
            self.conv_dw = _conv(hidden, hidden, kernel, stride, groups=hidden)
            self.bn1 = norm(hidden)
        else:
            self.conv_pw = _conv(layer.inputs, hidden, 1)
            self.bn1 = norm(hidden)
            self.conv_dw = _conv(hidden, hidden, kernel, stride, groups=hidden)
            self.bn2 = norm(hidden)
        self.se = (
            SqueezeExcite(hidden, rd_channels=layer.se_hidden) if layer.se_hidden else nn.Identity()
        )
        if layer.op == "sepconv":
            self.conv_pw = _conv(hidden, layer.outputs, 1)
            self.bn2 = norm(layer.outputs)
        elif layer.op == "mbconv":
            self.conv_pwl = _conv(hidden, layer.outputs, 1)
            self.bn3 = norm(layer.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        if self.layer.op == "conv":
            y = self.se(self.act(self.bn1(self.conv(x))))
        elif self.layer.op == "sepconv":
            y = self.se(self.act(self.bn1(self.conv_dw(x))))
            y = self.bn2(self.conv_pw(y))
        else:
            y = self.act(self.bn1(self.conv_pw(x)))
            y = self.se(self.act(self.bn2(self.conv_dw(y))))
            y = self.bn3(self.conv_pwl(y))
        return y if self.layer.skip == "none" else y + shortcut(x, self.layer)


class Network(nn.Module):
    """The network of a specification, with fresh weights initialised as in the official code."""

    def __init__(self, spec: NetSpec, dropout: float = 0.0) -> None:
        """Build ``spec``; ``dropout`` is the probability in front of the classifier."""
        super().__init__()
        self.spec = spec
        self.act = ACTIVATIONS[spec.activation](inplace=True)
        self.conv_stem = _conv(3, spec.stem, 3, spec.stem_stride)
        self.bn1 = nn.BatchNorm2d(spec.stem, spec.bn_eps, spec.bn_momentum)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(*(Block(layer, spec) for layer in stage))
                for stage in spec.stage_layers()
            )
        )
        self.conv_head = _conv(spec.stages[-1].filters, spec.head, 1)
        self.bn2 = nn.BatchNorm2d(spec.head, spec.bn_eps, spec.bn_momentum)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(spec.head, spec.classes)
        self.apply(initialise)

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) to the head's features (B, head, h, w)."""
        x = self.blocks(self.act(self.bn1(self.conv_stem(x))))
        return self.act(self.bn2(self.conv_head(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) to logits (B, classes)."""
        x = functional.adaptive_avg_pool2d(self.forward_features(x), 1).flatten(1)
        return self.classifier(self.dropout(x))


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """Fresh weights as in the official MnasNet code.

    Convolutions N(0, sqrt(2 / (k*k*out))), where a depthwise one counts as one output. The
    classifier is uniform within 1 / sqrt(inputs), where the official code has 1 / sqrt(classes):
    the same for 1,280 inputs and 1,000 classes, but ten times too much for ten.
    """
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] ** 2 * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        bound = module.in_features**-0.5
        nn.init.uniform_(module.weight, -bound, bound)
        nn.init.zeros_(module.bias)


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


@torch.no_grad()
def recalibrate(network: Network, batches: Iterable[Tensor]) -> None:
    """Give the batch norms the mean statistics of ``batches`` of images; leaves eval mode on."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # None: the cumulative average over all batches seen
    network.train()
    for images in batches:
        network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
