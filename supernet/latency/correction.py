"""Correction: from the times of a network's parts alone to their shares of its latency. No torch.

A part that runs alone converts the layout of its input and output and pays a call, which a network
pays once; and its weights lie in a cache where a network's may not. What remains differs between
kinds of layers: a pool shortcut or a squeeze-and-excitation breaks up what a runtime would keep in
its own layout. So a part's share is a weighted sum of a few ``terms``, the weights are fitted to
whole networks by least squares of the relative error, and which terms are worth having is decided
by cross-validation on those networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from supernet.parts import Body, Part

LEAST = 0.05
"""A share is at least this part of the time alone: no layer is free."""


class Times(NamedTuple):
    """Milliseconds of one run."""

    first: float
    """With other networks' data in the caches."""
    later: float
    """Straight after a run of the same."""


def terms(part: Part, times: Times) -> dict[str, float]:
    """What a part's share may be made of, by name."""
    found = {"first": times.first, "later": times.later, "part": 1.0}
    if isinstance(part, Body):
        found[f"later at {part.size} px"] = times.later
        layer = part.layer
        inputs, outputs = layer.inputs * layer.size**2, layer.outputs * layer.output_size**2
        for kind in _kinds(part):
            found[f"part {kind}"] = 1.0
            found[f"inputs {kind}"] = inputs * 1e-6
            found[f"outputs {kind}"] = outputs * 1e-6
    return found


def _kinds(part: Body) -> list[str]:
    layer = part.layer
    op = f"mbconv{layer.expand}" if layer.op == "mbconv" else layer.op
    kinds = [f"of {op}", f"of kernel {layer.kernel}"]
    if layer.se:
        kinds.append("with se")
    if layer.skip != "none":
        kinds.append(f"with {layer.skip}")
    if layer.skip == "pool" and layer.inputs != layer.outputs:
        kinds.append("with pool of another width")
    if layer.stride > 1:
        kinds.append("that strides")
    return kinds


def is_simple(name: str) -> bool:
    """Whether a term is one of the three that every layer has."""
    return name in ("first", "later", "part")


FORMS: dict[str, Callable[[str], bool]] = {
    "scale": lambda name: name == "later",
    "affine": is_simple,
    "kinds": lambda name: is_simple(name) or name.startswith("part"),
    "sizes": lambda name: is_simple(name) or name.startswith("later"),
    "kinds and sizes": lambda name: is_simple(name) or name.startswith(("part", "later")),
    "kinds, sizes and elements": lambda name: True,
}
"""The terms of each form, the simplest first. Kinds: a constant for each kind of layer. Sizes: a
factor of its own for each side of the feature map. Elements: millions of numbers that go into and
come out of layers of a kind, each of which a change of layout copies."""


@dataclass(frozen=True)
class Correction:
    """Weights of a form's terms."""

    form: str
    """A name in ``FORMS``."""
    strength: float
    """Of the ridge penalty."""
    weights: Mapping[str, float]
    """By term; those it lacks weigh nothing."""
    errors: Mapping[str, float]
    """Mean absolute relative error of each form in cross-validation."""

    def share(self, part: Part, times: Times) -> float:
        """Share in ms of a part that takes these times alone."""
        weighted = sum(
            self.weights.get(name, 0.0) * value for name, value in terms(part, times).items()
        )
        return max(LEAST * times.later, weighted)
