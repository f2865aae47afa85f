"""ElasticLayer: every variant of one layer of the supernet, cut from shared tensors.

A hidden channel of an inverted bottleneck is indexed by (expansion, input channel), so that the
weights of a narrower input or of a smaller expansion are a prefix in each index. Hence mbconv3
lies within mbconv6, and sepconv is the bottleneck of expansion 1 without its expanding convolution.
The dense convolution is sepconv's depthwise and pointwise weights multiplied out, plus a kernel of
its own: alone, 25 times the weights of its siblings would learn from a quarter of the steps. Every
op has its own batch norms and its own squeeze-and-excitation.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from supernet.network.convolution import convolve
from supernet.network.functional import (
    Taken,
    Weights,
    batch_norm,
    prefix,
    run_layer,
    shortcut,
    slices_taken,
)
from supernet.space.arch import EXPANSION, MBCONVS, mixed_ops
from supernet.space.stage import Layer, squeeze_width

_NORMS = {
    "conv": {"output": "bn1"},
    "sepconv": {"depthwise": "bn1", "output": "bn2"},
    **{op: {"expand": "bn1", "depthwise": "bn2", "output": "bn3"} for op in MBCONVS},
}
"""Where each op has batch norms, with their names in ``network.Block``."""


class ElasticNorm(nn.Module):
    """Scale and shift of one batch norm, sliced by channel or by (expansion, channel)."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))

    def pick(self, name: str, *sizes: int) -> Weights:
        """The first ``sizes`` entries, under the names of a standalone batch norm."""
        return {
            f"{name}.weight": prefix(self.weight, *sizes).flatten(),
            f"{name}.bias": prefix(self.bias, *sizes).flatten(),
        }


class ElasticSqueezeExcite(nn.Module):
    """Squeeze-and-excitation over channels, or over (expansion, channel)."""

    def __init__(self, hidden: int, *shape: int) -> None:
        """Start uniformly within 1 / sqrt(fan in), so that the gates start near one half."""
        super().__init__()
        squeeze, excite = math.prod(shape) ** -0.5, hidden**-0.5
        self.reduce = nn.Parameter(torch.empty(hidden, *shape).uniform_(-squeeze, squeeze))
        self.reduce_bias = nn.Parameter(torch.zeros(hidden))
        self.expand = nn.Parameter(torch.empty(*shape, hidden).uniform_(-excite, excite))
        self.expand_bias = nn.Parameter(torch.zeros(shape))

    def pick(self, hidden: int, *sizes: int) -> Weights:
        """Slices under the names of timm's ``SqueezeExcite``."""
        reduce = prefix(self.reduce, hidden, *sizes)
        expand = prefix(self.expand, *sizes, hidden)
        return {
            "se.conv_reduce.weight": reduce.reshape(hidden, -1, 1, 1),
            "se.conv_reduce.bias": prefix(self.reduce_bias, hidden),
            "se.conv_expand.weight": expand.reshape(-1, hidden, 1, 1),
            "se.conv_expand.bias": prefix(self.expand_bias, *sizes).flatten(),
        }


class ElasticLayer(nn.Module):
    """All ops, kernels, widths and squeeze-and-excitations of one layer.

    Beside the ops stands the stream: a batch-normed 1x1 shortcut that all ops share wherever
    identity does not act, weighted by the caller and faded to nothing during the search. It gives
    the ops a common basis of features while they are young (SCARLET, sec. 3.2: linearly
    equivalent transformation).
    """

    def __init__(
        self, ops: Iterable[str], inputs: int, outputs: int, kernel: int, se: float
    ) -> None:
        """Allocate the largest variant: widths, kernel side and squeeze ratio are maxima."""
        super().__init__()
        self.ops = tuple(ops)
        expansion = max(EXPANSION[op] for op in self.ops)
        wide, dense = expansion > 1, "conv" in self.ops
        self.expand = nn.Parameter(torch.empty(expansion, inputs, inputs)) if wide else None
        self.depthwise = nn.Parameter(torch.empty(expansion, inputs, kernel, kernel))
        self.project = nn.Parameter(torch.empty(outputs, expansion, inputs))
        self.dense = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel)) if dense else None
        self.stream = nn.Parameter(torch.empty(outputs, inputs))
        self.stream_norm = ElasticNorm(outputs)
        shapes = {op: (outputs,) if op == "conv" else (EXPANSION[op], inputs) for op in self.ops}
        # Dicts, whose types are known; the modules under public names hold the same ones.
        self._norms = {
            f"{op}_{place}": ElasticNorm(*((outputs,) if place == "output" else shape))
            for op, shape in shapes.items()
            for place in _NORMS[op]
        }
        self._squeeze_excites = {
            op: ElasticSqueezeExcite(squeeze_width(inputs, se), *shape)
            for op, shape in shapes.items()
            if se
        }
        self.norms = nn.ModuleDict(self._norms)
        self.squeeze_excites = nn.ModuleDict(self._squeeze_excites)
        self.initialise()

    @torch.no_grad()
    def initialise(self, noise: float = 0.1) -> None:
        """Start all ops as nearly the same map, so that they share features from step 0.

        A depthwise kernel is a delta, expansions alternate between I and -I, projections between
        P and -P (relu(x) - relu(-x) = x), and with them the dense convolution is P at its centre,
        each plus ``noise`` times its usual random weights; the stream is P (function preservation
        as in Net2Net, sec. 2.3).
        """
        expansion, inputs, kernel, _ = self.depthwise.shape
        shared = torch.randn(self.stream.shape) * inputs**-0.5
        self.stream.copy_(shared)
        self.depthwise.normal_(std=noise * math.sqrt(2) / kernel)
        self.depthwise[..., kernel // 2, kernel // 2] += 1
        if self.dense is not None:
            self.dense.normal_(std=noise * math.sqrt(2 / inputs) / kernel)
        if self.expand is not None:
            self.expand.normal_(std=inputs**-0.5)
            self.expand[:2] *= noise
            for index, sign in enumerate((1, -1)):
                self.expand[index] += sign * torch.eye(inputs)
        self.project.normal_(std=math.sqrt(2 / (expansion * inputs)))
        self.project[:, :2] *= noise
        # Expansions past the aligned pair keep random features, at a third of their usual weight.
        self.project[:, 2:] *= 0.3
        for index, sign in zip(range(expansion), (1, -1), strict=False):
            self.project[:, index] += sign * shared

    def weights(self, layer: Layer) -> Weights:
        """The slices of one variant under the names of ``network.Block``'s state dict."""
        op = f"mbconv{layer.expand}" if layer.op == "mbconv" else layer.op
        inputs, outputs, expand, kernel = layer.inputs, layer.outputs, layer.expand, layer.kernel
        hidden = (outputs,) if op == "conv" else (expand, inputs)
        picked: Weights = {}
        if layer.se:
            picked |= self._squeeze_excites[op].pick(layer.se_hidden, *hidden)
        for place, name in _NORMS[op].items():
            sizes = (outputs,) if place == "output" else hidden
            picked |= self._norms[f"{op}_{place}"].pick(name, *sizes)
        if op == "conv":
            picked["conv.weight"] = self._dense_kernel(inputs, outputs, kernel)
            return picked
        depthwise = prefix(self.depthwise, expand, inputs, kernel=kernel)
        picked["conv_dw.weight"] = depthwise.reshape(-1, 1, kernel, kernel)
        project = prefix(self.project, outputs, expand, inputs).reshape(outputs, -1, 1, 1)
        if op == "sepconv":
            picked["conv_pw.weight"] = project
        else:
            assert self.expand is not None, "an op that expands has made it"
            wide = prefix(self.expand, expand, inputs, inputs)
            picked["conv_pw.weight"] = wide.reshape(-1, inputs, 1, 1)
            picked["conv_pwl.weight"] = project
        return picked

    def slices(self, layer: Layer, stream: bool) -> Taken:
        """Slices of which ``forward`` takes the weights; ``stream``: whether it has any."""
        with torch.no_grad(), slices_taken() as taken:
            for one in self._variants(layer):
                self.weights(one)
            if stream and layer.skip != "identity":
                self._stream_weights(layer)
        return taken

    def _variants(self, layer: Layer) -> list[Layer]:
        """What runs for a layer: itself, or each op that it mixes, without the shortcut."""
        ops = mixed_ops(layer.op)
        if len(ops) == 1:
            return [layer]
        return [variant(dataclasses.replace(layer, skip="none"), op) for op in ops]

    def _stream_weights(self, layer: Layer) -> tuple[Tensor, Weights]:
        """The kernel and the norm of the shared shortcut."""
        weight = prefix(self.stream, layer.outputs, layer.inputs)[..., None, None]
        return weight, self.stream_norm.pick("norm", layer.outputs)

    def gradients(self, op: str) -> list[Tensor]:
        """Gradients of the weights that an op can use, those that it shares included.

        They are 0 for channels and kernel taps that a step left out; weights without one are not
        listed.
        """
        wide = slice(EXPANSION[op])
        used: list[tuple[nn.Parameter | None, tuple[slice, ...]]]
        used = [(self.depthwise, (wide,)), (self.project, (slice(None), wide))]
        used += [(self.dense, ())] if op == "conv" else []
        used += [(self.expand, (wide,))] if EXPANSION[op] > 1 else []
        modules = [*self.norms.items(), *self.squeeze_excites.items()]
        own = [module for name, module in modules if name.split("_")[0] == op]
        used += [(parameter, ()) for module in own for parameter in module.parameters()]
        return [
            weight.grad[slices]
            for weight, slices in used
            if weight is not None and weight.grad is not None
        ]

    def _dense_kernel(self, inputs: int, outputs: int, kernel: int) -> Tensor:
        """The dense convolution's weights (outputs, inputs, kernel, kernel)."""
        assert self.dense is not None, "a space of plain convolutions has made it"
        own = prefix(self.dense, outputs, inputs, kernel=kernel)
        depthwise = prefix(self.depthwise, 1, inputs, kernel=kernel)
        pointwise = prefix(self.project, outputs, 1, inputs).unsqueeze(1)
        # Channels last in shape and not only in memory, where autograd's sums are 10 times slower.
        own, depthwise = own.permute(0, 2, 3, 1), depthwise.permute(0, 2, 3, 1)
        return torch.addcmul(own, pointwise, depthwise).permute(0, 3, 1, 2)

    def forward(self, x: Tensor, layer: Layer, eps: float, stream: float) -> Tensor:
        """Run one variant as ``run_layer`` does, or the mean of the ops that its op mixes.

        ``stream`` in [0, 1] is the weight of the shared shortcut.
        """
        variants = self._variants(layer)
        if len(variants) > 1:
            # Added up, as torch.stack would lose the memory format.
            outputs = (run_layer(x, one, self.weights(one), eps) for one in variants)
            y = functools.reduce(torch.add, outputs) / len(variants) + shortcut(x, layer)
        else:
            y = run_layer(x, layer, self.weights(layer), eps)
        if stream and layer.skip != "identity":
            weight, norm = self._stream_weights(layer)
            shared = convolve(x, weight, layer.stride)
            y = y + stream * batch_norm(shared, norm["norm.weight"], norm["norm.bias"], eps)
        return y


def variant(layer: Layer, op: str) -> Layer:
    """A mixed layer as one of the ops that it is the mean of."""
    expand = EXPANSION[op]
    return dataclasses.replace(layer, op="mbconv" if expand > 1 else op, expand=expand)
