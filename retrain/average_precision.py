"""COCO's average precision of what a detector finds, over the images of all processes."""

from __future__ import annotations

import importlib.util

from torch import Tensor, distributed
from torchmetrics.detection import MeanAveragePrecision

from supernet.boxes import Target
from supernet.errors import UserError

FIGURES = ("map", "map_50", "map_75")
"""COCO's average precision over IoU 0.50 to 0.95, at 0.50 and at 0.75, each a mean over classes."""


class AveragePrecision:
    """Collects detections and measures them with pycocotools, as torchmetrics calls it.

    The images of all processes are gathered here: torchmetrics gathers tensor by tensor and needs
    as many images on every process, where ours are dealt so that none is counted twice.

    Raises:
        UserError: when pycocotools is not installed.
    """

    def __init__(self) -> None:
        if importlib.util.find_spec("pycocotools") is None:
            raise UserError("detection needs `pip install mnasnet-search[detection]`")
        self._seen: list[tuple[Target, Target]] = []

    def update(self, found: list[Target], targets: list[Target]) -> None:
        """Add images: boxes, labels and scores that were found, and the boxes and labels there."""
        pairs = zip(found, targets, strict=True)
        self._seen += [(_on_cpu(one), _on_cpu(other)) for one, other in pairs]

    def compute(self) -> dict[str, Tensor]:
        """``FIGURES`` of all images since the last call, the same on every process."""
        parts, self._seen = [self._seen], []
        if distributed.is_available() and distributed.is_initialized():
            parts = parts * distributed.get_world_size()
            distributed.all_gather_object(parts, parts[0])
        metric = MeanAveragePrecision(backend="pycocotools", sync_on_compute=False)
        found, targets = zip(*(pair for part in parts for pair in part), strict=True)
        metric.update(list(found), list(targets))
        figures = metric.compute()
        return {name: figures[name] for name in FIGURES}


def _on_cpu(target: Target) -> Target:
    return {name: value.cpu() for name, value in target.items()}
