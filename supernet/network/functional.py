"""Slices of shared tensors, and a layer of the supernet as a function of them."""

import operator
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from supernet.network.convolution import convolve
from supernet.space.stage import Layer

Weights = dict[str, Tensor]
"""Tensors under the names of ``network.Block``'s state dict."""
Box = tuple[tuple[int, int], ...]
"""Part of a tensor: first index of each dimension, and the one after the last."""
Taken = list[tuple[Tensor, Box]]
"""Tensors with the part of each that something takes."""
_WATCHED: list[Taken] = []


def submodule_weights(weights: Mapping[str, Tensor], prefix: str) -> Weights:
    """The tensors of a state dict whose names begin with ``prefix``, which they lose."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in weights.items()
        if name.startswith(prefix)
    }


@contextmanager
def slices_taken() -> Iterator[Taken]:
    """What ``prefix`` takes of which tensors until the context ends."""
    taken: Taken = []
    _WATCHED.append(taken)
    try:
        yield taken
    finally:
        _WATCHED.pop()


def whole(tensor: Tensor) -> Box:
    """All of a tensor."""
    return tuple((0, size) for size in tensor.shape)


def _note(tensor: Tensor, shape: list[int], margin: int) -> None:
    """Tell who watches of a slice of a tensor; ``margin`` is left around a kernel."""
    box = [(0, size) for size in shape]
    if margin:
        box[-2:] = [(margin, margin + size) for size in shape[-2:]]
    for taken in _WATCHED:
        taken.append((tensor, tuple(box)))


def prefix(tensor: Tensor, *sizes: int, kernel: int | None = None) -> Tensor:
    """The first ``sizes`` entries of the leading dimensions and the ``kernel`` at the centre.

    With a kernel, whose side is odd, the last two dimensions of the tensor are spatial.

    Raises:
        ValueError: when the tensor holds less than what is to be kept.
    """
    shape, strides, start = list(tensor.shape), tensor.stride(), tensor.storage_offset()
    shape[: len(sizes)] = sizes
    margin = 0
    if kernel is not None:
        shape[-2:] = kernel, kernel
        margin = (tensor.shape[-1] - kernel) // 2
        start += margin * (strides[-2] + strides[-1])
    if _WATCHED:
        _note(tensor, shape, margin)
    if shape == list(tensor.shape):
        return tensor
    if any(map(operator.gt, shape, tensor.shape)):
        raise ValueError(f"cannot keep {shape} of a tensor of {list(tensor.shape)}")
    # Not tensor[...], whose gradient is filled with zeros once for every sliced dimension.
    return tensor.as_strided(shape, strides, start)


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Normalise by the statistics of the batch, always (TuNAS: stateless BN during the search)."""
    return functional.batch_norm(x, None, None, weight, bias, training=True, eps=eps)


def pool_shortcut(x: Tensor, inputs: int, outputs: int, stride: int) -> Tensor:
    """Features (B, inputs, H, W) as (B, outputs, H / stride, W / stride), without parameters.

    It is a 3x3 average pool, channels zero-padded or cut at the end: the paper names "pooling"
    only, this form, as in PyramidNet, works for any stride and width.
    """
    # The widths are given, as a tracer cannot branch on a shape; and no slice keeps all channels,
    # which exporters leave in the graph as an operator that few runtimes have.
    x = functional.avg_pool2d(x, 3, stride, padding=1, count_include_pad=False)
    if outputs > inputs:
        return functional.pad(x, (0, 0, 0, 0, 0, outputs - inputs))
    return x[:, :outputs] if outputs < inputs else x


def shortcut(x: Tensor, layer: Layer) -> Tensor | float:
    """What the layer's skip adds to its output; 0 for none."""
    if layer.skip == "identity":
        return x
    if layer.skip == "pool":
        return pool_shortcut(x, layer.inputs, layer.outputs, layer.stride)
    return 0.0


def squeeze_excite(x: Tensor, weights: Weights) -> Tensor:
    """Features (B, C, H, W), rescaled by a gate made of their means (Hu et al. 2018, sec. 3)."""
    gate = x.mean((2, 3), keepdim=True)
    for name, act in (("conv_reduce", torch.relu), ("conv_expand", torch.sigmoid)):
        weight, bias = weights[f"se.{name}.weight"], weights[f"se.{name}.bias"]
        gate = act(convolve(gate, weight, bias=bias))
    return x * gate


def run_layer(x: Tensor, layer: Layer, weights: Weights, eps: float) -> Tensor:
    """One layer of a stage on batch statistics, shortcut included.

    It maps features (B, layer.inputs, H, W) to (B, layer.outputs, H / stride, W / stride); ``eps``
    is that of the batch norms.
    """

    def conv_bn(x: Tensor, conv: str, norm: str, stride: int = 1) -> Tensor:
        x = convolve(x, weights[f"{conv}.weight"], stride)
        return batch_norm(x, weights[f"{norm}.weight"], weights[f"{norm}.bias"], eps)

    def gated(x: Tensor) -> Tensor:
        return squeeze_excite(x, weights) if layer.se else x

    if layer.op == "conv":
        y = gated(conv_bn(x, "conv", "bn1", layer.stride).relu_())
    elif layer.op == "sepconv":
        y = gated(conv_bn(x, "conv_dw", "bn1", layer.stride).relu_())
        y = conv_bn(y, "conv_pw", "bn2")
    else:
        y = conv_bn(x, "conv_pw", "bn1").relu_()
        y = gated(conv_bn(y, "conv_dw", "bn2", layer.stride).relu_())
        y = conv_bn(y, "conv_pwl", "bn3")
    return y if layer.skip == "none" else y + shortcut(x, layer)
