"""Limits of what a network may be, and the checks that use them. No torch.

A file or an option may name any number: one of these is refused where it is read, instead of
filling the memory or running for ever.
"""

from collections.abc import Sequence

from supernet.errors import UserError

MOST = {
    "layers": 100,
    "channels": 65_536,
    "kernel": 31,
    "expand": 64,
    "stride": 16,
    "side": 16_384,
    "classes": 1_000_000,
    "blocks": 100,
}
"""Largest numbers of a network: far above every mobile one, and far below what hangs a program."""
MAX_MULTIPLIER = 100.0
"""Largest multiplier of widths."""
MAX_SE = 16.0
"""Largest width of a squeeze over its layer's input width."""
MAX_WEIGHTS = 5e9
"""Weights of the largest network of a space, some: 20 GB."""


def check_count(name: str, value: object, least: int = 1, most: int | None = None) -> None:
    """Refuse all but whole numbers of at least ``least`` and at most ``most``, if there is a most.

    Raises:
        UserError: with the name, the value and the limits.
    """
    if type(value) is not int or value < least:
        raise UserError(f"{name} is {value!r}, it must be a whole number of at least {least}")
    if most is not None and value > most:
        raise UserError(f"{name} is {value}, it must be at most {most}")


def check_size(widths: Sequence[int], depths: Sequence[int], weights_per_pair: int) -> None:
    """Refuse a space whose largest network nothing could hold.

    Args:
        widths: channels behind the stem and behind each block, at most.
        depths: layers of each block, at most.
        weights_per_pair: weights of a layer for each pair of an input and an output channel.

    Raises:
        UserError: naming the block, or the number of weights.
    """
    weights = 0
    for number, (inputs, outputs, depth) in enumerate(
        zip(widths, widths[1:], depths, strict=False), 1
    ):
        check_count(f"space: width of block {number}", outputs, most=MOST["channels"])
        check_count(f"space: depth of block {number}", depth, most=MOST["layers"])
        weights += weights_per_pair * outputs * (inputs + (depth - 1) * outputs)
    if weights > MAX_WEIGHTS:
        raise UserError(
            f"space: its largest network has some {weights:.1e} weights, it may have"
            f" {MAX_WEIGHTS:.0e}: lower width, base_filters or base_layers"
        )
