"""Stage and Layer: what stands between the stem and the head of a network. No torch."""

from collections.abc import Iterator
from dataclasses import dataclass

from supernet.errors import UserError, check_choice, check_range
from supernet.space.limits import MAX_SE, MOST, check_count

OPS = ("conv", "sepconv", "mbconv")
SKIPS = ("none", "identity", "pool")


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round a channel count to a multiple of ``divisor``, losing at most 10 % (MobileNetV2).

    Examples:
        >>> make_divisible(33), make_divisible(20 * 0.35)
        (32, 8)
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def output_size(size: int, stride: int) -> int:
    """Side of the output of a padded convolution or pooling of odd kernel, in pixels.

    Examples:
        >>> output_size(224, stride=2)
        112
    """
    return (size - 1) // stride + 1


def squeeze_width(inputs: int, ratio: float) -> int:
    """Channels of a squeeze: ``ratio`` of the layer's input, at least 1; 0 without a ratio.

    Examples:
        >>> squeeze_width(24, 0.25)
        6
    """
    return max(1, int(inputs * ratio)) if ratio else 0


@dataclass(frozen=True)
class Layer:
    """One layer of a stage, with everything that its weights, cost and latency depend on.

    Examples:
        >>> layer = Layer("mbconv", 3, 6, 0.25, "none", inputs=16, outputs=24, stride=2, size=32)
        >>> layer.hidden, layer.se_hidden, layer.output_size
        (96, 4, 16)
    """

    op: str
    kernel: int
    expand: int
    """Hidden width over input width of an mbconv; 1 for the other ops."""
    se: float
    """Squeeze-and-excitation width over the layer's input width; 0 is off."""
    skip: str
    """The shortcut that acts on this layer: none, identity or pool."""
    inputs: int
    outputs: int
    stride: int
    size: int
    """Side of the input, in pixels."""

    @property
    def hidden(self) -> int:
        """Channels that the depthwise convolution (or the dense one) works on."""
        return self.outputs if self.op == "conv" else self.inputs * self.expand

    @property
    def se_hidden(self) -> int:
        """Channels of the squeeze; 0 without squeeze-and-excitation."""
        return squeeze_width(self.inputs, self.se)

    @property
    def output_size(self) -> int:
        """Side of the output, in pixels."""
        return output_size(self.size, self.stride)


@dataclass(frozen=True)
class Stage:
    """``repeats`` alike layers; only the first strides or changes the width (MnasNet, sec. 4.1).

    Examples:
        >>> stage = Stage("sepconv", 3, 1, 0.0, "identity", filters=16, repeats=2, stride=2)
        >>> [(layer.inputs, layer.stride, layer.skip) for layer in stage.layers(inputs=8, size=32)]
        [(8, 2, 'none'), (16, 1, 'identity')]
    """

    op: str
    kernel: int
    expand: int
    se: float
    skip: str
    filters: int
    repeats: int
    stride: int

    def layers(self, inputs: int, size: int) -> Iterator[Layer]:
        """The layers behind ``inputs`` channels of ``size`` x ``size`` pixels.

        A skip that cannot act on a layer is ``none``: identity needs stride 1 and equal widths.
        """
        for index in range(self.repeats):
            stride = self.stride if index == 0 else 1
            fits = stride == 1 and inputs == self.filters
            skip = "none" if self.skip == "identity" and not fits else self.skip
            yield Layer(
                self.op, self.kernel, self.expand, self.se, skip, inputs, self.filters, stride, size
            )
            inputs, size = self.filters, output_size(size, stride)

    def check(self, place: str) -> None:
        """Refuse what is no stage; ``place`` names it in the error.

        Raises:
            UserError: naming the field, what it holds and what is allowed.
        """
        check_choice(f"{place}: op", self.op, OPS)
        check_choice(f"{place}: skip", self.skip, SKIPS)
        for name, limit in _LIMITS.items():
            check_count(f"{place}: {name}", getattr(self, name), most=MOST[limit])
        if self.kernel % 2 == 0:
            raise UserError(f"{place}: kernel is {self.kernel}, it must be odd")
        if (self.op == "mbconv") != (self.expand > 1):
            raise UserError(
                f"{place}: op is {self.op} and expand {self.expand}; mbconv expands by 2 or more,"
                " sepconv and conv by 1"
            )
        check_range(f"{place}: ", self, "se", least=0, most=MAX_SE)


_LIMITS = {
    "kernel": "kernel",
    "expand": "expand",
    "filters": "channels",
    "repeats": "layers",
    "stride": "stride",
}
"""Name in ``MOST`` of the limit of each number of a stage."""
