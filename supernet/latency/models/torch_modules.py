"""Parts and networks as torch modules, with fresh weights, for backends that start from torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from supernet.cost.parts import Body, Head, Part, Stem
from supernet.latency.models.subject import input_shape
from supernet.network.network import ACTIVATIONS, Block, Network, initialise
from supernet.space.spec import NetSpec


def module_of(subject: Part | NetSpec) -> nn.Module:
    """What computes a part alone or a whole network, in evaluation mode."""
    if isinstance(subject, NetSpec):
        return Network(subject).eval()
    return _alone(subject).apply(initialise).eval()


def example(subject: Part | NetSpec) -> Tensor:
    """An input of the subject's shape, of one image or one feature map."""
    return torch.randn(input_shape(subject), generator=torch.Generator().manual_seed(0))


def _alone(part: Part) -> nn.Module:
    if isinstance(part, Body):
        return Block(part.layer, NetSpec(8, 1, (), 8, 1, part.size, part.activation))
    return _stem(part) if isinstance(part, Stem) else _head(part)


def _stem(part: Stem) -> nn.Module:
    conv = nn.Conv2d(3, part.outputs, 3, part.stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(part.outputs), ACTIVATIONS[part.activation](True))


def _head(part: Head) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(part.inputs, part.outputs, 1, bias=False),
        nn.BatchNorm2d(part.outputs),
        ACTIVATIONS[part.activation](True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(part.outputs, part.classes),
    )
