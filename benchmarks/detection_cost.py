"""Parameters and multiply-adds of MobileNetV2 and MnasNet-A1 with SSDLite, beside the papers'.

``python -m benchmarks.detection_cost`` counts at 320 px. A count depends on four things that the
papers do not all print: where the heads are attached, how many default boxes the finest map has at
every place, how many classes there are, and whether batch norms count as two parameters a channel
or, folded into their convolutions, as one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torchvision.models.detection.ssdlite import SSDLiteHead

from retrain.detect.ssdlite import SSDLite, make_backbone
from supernet.cost.counts import Cost
from supernet.network.network import Network
from supernet.space.published import published_spec
from supernet.space.spec import NetSpec

RESOLUTION = 320
"""Side of the images, in pixels (MobileNetV2, sec. 6.2)."""
BOXES = 6
"""Default boxes at every place of a map."""
REDUCED = 3
"""Those of the finest map in TensorFlow's detectors (``reduce_boxes_in_lowest_layer``, which is on
by default in its ssd_anchor_generator.proto and so in ssdlite_mobilenet_v2_coco.config)."""
STAGES = SSDLite(taps=(16, 32))
PAPER = SSDLite()


@dataclass(frozen=True)
class Variant:
    """One way to attach SSDLite and to count it."""

    words: str
    settings: SSDLite = PAPER
    finest_boxes: int = REDUCED
    classes: int = 80
    """Without the background."""


VARIANTS = (
    Variant("outputs of the stages of stride 16 and 32", STAGES, BOXES),
    Variant("the paper's taps", PAPER, BOXES),
    Variant("and 3 boxes on the finest map"),
    Variant("and COCO's 90 label numbers", classes=90),
)
PAPERS = {
    "mobilenet_v2": "4.3M, 0.8B (MobileNetV2 and MnasNet); 4.3M, 0.80B (MobileNetV3)",
    "mnasnet_a1": "4.9M, 0.8B (MnasNet); 4.88M, 0.84B (MobileNetV3)",
}
"""MobileNetV2, table 6; MnasNet, table 3; MobileNetV3, table 6."""


@dataclass(frozen=True)
class Parts:
    """Costs of a detector."""

    features: Cost
    """The network up to its last tap."""
    extras: Cost
    heads: Cost
    norms: int
    """Channels of all batch norms: the parameters that folding saves."""

    @property
    def total(self) -> Cost:
        """The whole detector."""
        return self.features + self.extras + self.heads


def count_detector(spec: NetSpec, variant: Variant) -> Parts:
    """Count a detector's modules on the meta device, without allocating it.

    Args:
        spec: the network; its resolution is the detector's.
        variant: what is attached, and for how many classes.
    """
    norm = partial(nn.BatchNorm2d, eps=spec.bn_eps)
    with torch.device("meta"):
        backbone = make_backbone(Network(spec), variant.settings, norm).eval()
        widths = backbone.out_channels
        boxes = [variant.finest_boxes, *[BOXES] * (len(widths) - 1)]
        head = SSDLiteHead(widths, boxes, variant.classes + 1, norm).eval()
        modules = (backbone.features, backbone.extras, head)
        with counting(*modules) as macs:
            maps = backbone(torch.empty(1, 3, spec.resolution, spec.resolution))
            head(list(maps.values()))
    features, extras, heads = (Cost(count_params(one), macs[one]) for one in modules)
    return Parts(features, extras, heads, norms=sum(map(count_norms, modules)))


@contextmanager
def counting(*modules: nn.Module) -> Iterator[dict[nn.Module, int]]:
    """Adds up the multiply-accumulates of all convolutions within each module, while it lasts."""
    macs = dict.fromkeys(modules, 0)

    def add(module: nn.Module, conv: nn.Conv2d, _: Any, output: torch.Tensor) -> None:
        macs[module] += conv.weight.numel() * output.shape[-2] * output.shape[-1]

    handles = [
        conv.register_forward_hook(partial(add, module))
        for module in modules
        for conv in module.modules()
        if isinstance(conv, nn.Conv2d)
    ]
    try:
        yield macs
    finally:
        for handle in handles:
            handle.remove()


def count_params(module: nn.Module) -> int:
    """Learnable parameters, batch norms included."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_norms(module: nn.Module) -> int:
    """Channels of all batch norms."""
    norms = (m for m in module.modules() if isinstance(m, nn.BatchNorm2d))
    return sum(norm.num_features for norm in norms)


def print_network(name: str) -> None:
    """The variants of one network, and the parts of the last."""
    spec = published_spec(name).scaled(resolution=RESOLUTION)
    print(f"\n{name} + SSDLite at {RESOLUTION} px; the papers: {PAPERS[name]}\n")
    print("| what is counted | params | of these, folding saves | MACs |")
    print("|---|---|---|---|")
    for variant in VARIANTS:
        parts = count_detector(spec, variant)
        words = f"{variant.words}; {variant.classes} classes + background"
        print(f"| {words} | {_cells(parts.total, parts.norms)} |")
    for words, cost in (
        ("... of the last: the network", parts.features),
        ("... its four extra maps", parts.extras),
        ("... its six heads", parts.heads),
    ):
        print(f"| {words} | {_cells(cost)} |")


def _cells(cost: Cost, norms: int | None = None) -> str:
    saved = "" if norms is None else f"{norms / 1e6:.3f}M"
    return f"{cost.params / 1e6:.3f}M | {saved} | {cost.macs / 1e6:.1f}M"


def main() -> None:
    """Print both tables."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    for name in PAPERS:
        print_network(name)


if __name__ == "__main__":
    main()
