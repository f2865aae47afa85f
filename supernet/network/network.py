"""Network(spec): what a user ships.

Its module names are timm's (``conv_stem``, ``blocks.i.j.conv_pw``, ``conv_head``, ...),
so that state dicts travel between the two.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn

from supernet.network.convolution import convolve
from supernet.network.functional import pool_shortcut
from supernet.space.spec import NetSpec
from supernet.space.stage import Layer

ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6}


class PaddedConv(nn.Conv2d):
    """A convolution whose output has the input's side over ``stride``, rounded up.

    While it trains it is computed as in the supernet, see ``convolve``: on maps of few pixels it
    learns several times faster on a processor.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        # What is scripted, traced or exported is a plain convolution, which every runtime knows.
        if torch.jit.is_scripting():
            return self._conv_forward(x, self.weight, self.bias)
        if not self.training or isinstance(x, torch.fx.Proxy):
            return super().forward(x)
        return convolve(x, self.weight, self.stride[0], self.bias)


class SqueezeExcite(nn.Module):
    """A gate for each channel, made of the means of all (Hu et al. 2018, sec. 3)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv_reduce = PaddedConv(channels, hidden, 1, bias=True)
        self.conv_expand = PaddedConv(hidden, channels, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (B, C, H, W) to the same, rescaled."""
        gate = self.conv_reduce(x.mean((2, 3), keepdim=True)).relu()
        return x * self.conv_expand(gate).sigmoid()


class Block(nn.Module):
    """One layer of a stage: conv, sepconv or mbconv with its shortcut (MnasNet, figure 4).

    ``torch.jit.script`` compiles it: ``forward`` reads modules and plain numbers, never ``layer``.
    """

    def __init__(self, layer: Layer, spec: NetSpec) -> None:
        super().__init__()
        self.layer = layer
        self.skip, self.inputs, self.outputs = layer.skip, layer.inputs, layer.outputs
        self.stride = layer.stride
        self.act = ACTIVATIONS[spec.activation](inplace=True)
        hidden, kernel, stride = layer.hidden, layer.kernel, layer.stride

        def norm(channels: int) -> nn.BatchNorm2d:
            return nn.BatchNorm2d(channels, spec.bn_eps, spec.bn_momentum)

        if layer.op == "conv":
            self.conv = PaddedConv(layer.inputs, hidden, kernel, stride)
            self.bn1 = norm(hidden)
        elif layer.op == "sepconv":
            self.conv_dw = PaddedConv(hidden, hidden, kernel, stride, groups=hidden)
            self.bn1 = norm(hidden)
        else:
            self.conv_pw = PaddedConv(layer.inputs, hidden, 1)
            self.bn1 = norm(hidden)
            self.conv_dw = PaddedConv(hidden, hidden, kernel, stride, groups=hidden)
            self.bn2 = norm(hidden)
        squeeze = layer.se_hidden
        self.se = SqueezeExcite(hidden, squeeze) if squeeze else nn.Identity()
        if layer.op == "sepconv":
            self.conv_pw = PaddedConv(hidden, layer.outputs, 1)
            self.bn2 = norm(layer.outputs)
        elif layer.op == "mbconv":
            self.conv_pwl = PaddedConv(hidden, layer.outputs, 1)
            self.bn3 = norm(layer.outputs)

    def feature_info(self, location: str) -> dict[str, Any]:
        """Module and channels of the output, timm's ``bottleneck`` location; timm asks for it."""
        return {"module": "", "num_chs": self.layer.outputs}

    def forward(self, x: Tensor) -> Tensor:
        """Map features (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        if hasattr(self, "conv"):
            y = self.se(self.act(self.bn1(self.conv(x))))
        elif hasattr(self, "conv_pwl"):
            y = self.act(self.bn1(self.conv_pw(x)))
            y = self.se(self.act(self.bn2(self.conv_dw(y))))
            y = self.bn3(self.conv_pwl(y))
        else:
            y = self.se(self.act(self.bn1(self.conv_dw(x))))
            y = self.bn2(self.conv_pw(y))
        if self.skip == "identity":
            return y + x
        if self.skip == "pool":
            return y + pool_shortcut(x, self.inputs, self.outputs, self.stride)
        return y


class Network(nn.Module):
    """The network of a specification, with fresh weights initialised as in the official code.

    Examples:
        >>> import torch
        >>> from supernet.space.published import published_spec
        >>> spec = published_spec("mnasnet_small").scaled(resolution=32, classes=10)
        >>> network = Network(spec).eval()
        >>> network(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """

    def __init__(self, spec: NetSpec, dropout: float = 0.0) -> None:
        """Build ``spec``; ``dropout`` is the probability in front of the classifier."""
        super().__init__()
        self.spec = spec
        self.act = ACTIVATIONS[spec.activation](inplace=True)
        self.conv_stem = PaddedConv(3, spec.stem, 3, spec.stem_stride)
        self.bn1 = nn.BatchNorm2d(spec.stem, spec.bn_eps, spec.bn_momentum)
        self.blocks = make_stages(spec)
        self.conv_head = PaddedConv(spec.stages[-1].filters, spec.head, 1)
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


def make_stages(spec: NetSpec) -> nn.Sequential:
    """The blocks of each stage, in a sequence of their own."""
    stages = ((Block(layer, spec) for layer in layers) for layers in spec.stage_layers())
    return nn.Sequential(*(nn.Sequential(*blocks) for blocks in stages))


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


def recalibrate(network: Network, batches: Iterable[Tensor]) -> None:
    """Give the batch norms the mean statistics of ``batches`` of images; leaves eval mode on."""
    update_bn(batches, network)
    network.eval()
