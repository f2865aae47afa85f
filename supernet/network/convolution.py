"""Convolutions that keep the side of a map over a stride, each computed in the fastest way.

What a processor needs for small maps is mostly what oneDNN needs to begin, or its reference code,
which it falls back to where a kernel is larger than the map. All ways have the same result.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.grad import conv2d_input

SMALL_MAP = 4
"""Side of maps, in pixels, up to which a pointwise convolution is faster as a linear layer: 7 times
forward and 2 times with its gradients at 1 pixel, 2 and 1.5 times at 4."""


def convolve(x: Tensor, weight: Tensor, stride: int = 1, bias: Tensor | None = None) -> Tensor:
    """Padded convolution of x (B, C, H, W) by (O, I, K, K), plus a bias (O,); depthwise if I is 1.

    Taps that could only see padding are cropped: oneDNN takes 5 ms instead of 0.02 ms for a 5x5
    depthwise kernel on a 1x1 map.
    """
    side = max(x.shape[-2:])
    weight = _without_blind_taps(weight, side)
    if weight.shape[-1] == 1:
        return _pointwise(x[..., ::stride, ::stride], weight, bias)
    groups = x.shape[1] if weight.shape[1] == 1 else 1
    if groups > 1 and weight.shape[-1] > side and _is_plain(x):
        return _shifted(_DepthwiseOnSmallMap.apply(x, weight, stride), bias)
    padding = weight.shape[-1] // 2
    return functional.conv2d(x, weight, bias, stride=stride, padding=padding, groups=groups)


def _shifted(x: Tensor, bias: Tensor | None) -> Tensor:
    return x if bias is None else x + bias.reshape(1, -1, 1, 1)


def _without_blind_taps(weight: Tensor, side: int) -> Tensor:
    margin = (weight.shape[-1] - (2 * side - 1)) // 2
    if margin <= 0:
        return weight
    inner = slice(margin, -margin)
    if weight.stride(1) == 1:  # channels last, as the gradient then is
        return weight.permute(0, 2, 3, 1)[:, inner, inner].permute(0, 3, 1, 2)
    return weight[..., inner, inner]


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # Strides are taken before, not by oneDNN, which writes beyond its memory where a strided 1x1
    # convolution of few channels last learns on AVX2 (github.com/uxlfoundation/oneDNN/issues/6035).
    if weight.shape[1] == 1 and x.shape[1] > 1:
        return _shifted(x * weight.reshape(1, -1, 1, 1), bias)
    if x.device.type == "cpu" and max(x.shape[-2:]) <= SMALL_MAP:
        return functional.linear(x.permute(0, 2, 3, 1), _matrix(weight), bias).permute(0, 3, 1, 2)
    return functional.conv2d(x, weight, bias)


def _matrix(weight: Tensor) -> Tensor:
    """A pointwise kernel (O, I, 1, 1) as (O, I), of gradients with its strides, as DDP asks."""
    return weight.flatten(1) if weight.stride(-1) == 1 else weight.permute(0, 2, 3, 1).flatten(1)


def _is_plain(x: Tensor) -> bool:
    """Whether a processor computes with x as it is: neither another device, dtype nor compiler."""
    on_cpu = x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return on_cpu and not torch.compiler.is_compiling()


class _DepthwiseOnSmallMap(torch.autograd.Function):
    """A depthwise convolution whose kernel is larger than the map.

    oneDNN computes the gradient of its kernel by reference code, 10 to 30 times slower than this.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        padding = weight.shape[-1] // 2
        return functional.conv2d(x, weight, stride=stride, padding=padding, groups=x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            padding = weight.shape[-1] // 2
            of_x = conv2d_input(x.shape, weight, gradient, ctx.stride, padding, groups=x.shape[1])
        if ctx.needs_input_grad[1]:
            of_weight = torch.empty_like(weight)  # with its strides, as DDP asks
            of_weight.copy_(_depthwise_gradient(x, gradient, weight.shape[-1], ctx.stride))
        return of_x, of_weight, None


def _depthwise_gradient(x: Tensor, gradient: Tensor, kernel: int, stride: int) -> Tensor:
    """Gradient (C, 1, K, K) of a depthwise kernel, from features and the gradient of its output.

    Each pixel is multiplied by each pixel of the output, and products of one tap are added up.
    """
    products = _by_channel(x).transpose(1, 2) @ _by_channel(gradient)
    taps = _taps(*x.shape[2:], kernel, stride).to(x.dtype)
    return (products.flatten(1) @ taps).view(-1, 1, kernel, kernel)


def _by_channel(x: Tensor) -> Tensor:
    """Features (B, C, H, W) as (C, B, H * W)."""
    batch, channels = x.shape[:2]
    return x.permute(0, 2, 3, 1).reshape(-1, channels).t().contiguous().view(channels, batch, -1)


@lru_cache(maxsize=64)
def _taps(height: int, width: int, kernel: int, stride: int) -> Tensor:
    """Which tap, 1 in (P * Q, K * K), leads from a pixel of P to one of the output's Q."""
    pixels = torch.eye(height * width).view(-1, 1, height, width)
    seen = functional.unfold(pixels, kernel, padding=kernel // 2, stride=stride)
    return seen.transpose(1, 2).flatten(0, 1)
