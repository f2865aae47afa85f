"""A detector as one graph: images to boxes, scores and labels, or to all that these are chosen of.

The boxes are those of torchvision's SSD (``postprocess_detections``), for any batch and in outputs
of one size, which phones and accelerators ask for: an image with fewer boxes has scores of 0. Of
formats without an operator that suppresses boxes a file gives every default box with its scores,
and leaves the choice to the program that runs it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxscript
import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import nms

from retrain.detect.ssdlite import Detector, SSDLite, make_detector
from supernet.network.checkpoint import TrainedNetwork, broken_checkpoint
from supernet.network.network import Network

op: Any = onnxscript.opset18
_ALL = 2**31 - 1
"""Boxes of a class that may be kept: the candidates are few already."""


def detector_of(trained: TrainedNetwork, checkpoint: Path) -> Detector:
    """The detector of a checkpoint, in evaluation mode.

    Raises:
        UserError: when its settings or its weights are not those of a detector.
    """
    try:
        detector = make_detector(Network(trained.spec), SSDLite(**(trained.ssdlite or {})))
        detector.load_state_dict(trained.weights)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise broken_checkpoint(checkpoint, error) from None
    return detector.eval()


@torch.library.custom_op("mnasnet_search::kept", mutates_args=())
def kept(boxes: Tensor, scores: Tensor, overlap: float, least: float) -> Tensor:
    """Boxes that non-maximum suppression keeps, in each group by itself.

    Args:
        boxes: corners (G, K, 4) of K boxes in each of G groups.
        scores: of the boxes (G, K).
        overlap: intersection over union above which the lower score goes.
        least: score that a box must exceed.

    Returns:
        1.0 for a box that is kept, else 0.0 (G, K).
    """
    mask = torch.zeros_like(scores)
    for row, group, values in zip(mask, boxes, scores, strict=True):
        row[nms(group, values, overlap)] = 1.0
    return mask * (scores > least)


@kept.register_fake
def _(boxes: Tensor, scores: Tensor, overlap: float, least: float) -> Tensor:
    return torch.empty_like(scores)


def _onnx_kept(boxes: Any, scores: Any, overlap: float, least: float) -> Any:
    """``kept`` in ONNX's operators."""
    chosen = op.NonMaxSuppression(  # (kept, 3): group, class (one for all), place
        boxes,
        op.Unsqueeze(scores, op.Constant(value_ints=[1])),
        op.Constant(value_ints=[_ALL]),
        op.Constant(value_floats=[overlap]),
        op.Constant(value_floats=[least]),
    )
    places = op.Gather(chosen, op.Constant(value_ints=[0, 2]), axis=1)
    group = op.Gather(chosen, op.Constant(value_int=0), axis=1)
    ones = op.Cast(op.Greater(group, op.Constant(value_int=-1)), to=1)
    return op.ScatterND(op.Mul(scores, op.Constant(value_float=0.0)), places, ones)


OPERATORS = {torch.ops.mnasnet_search.kept.default: _onnx_kept}
"""ONNX's forms of our operators."""


class DefaultBoxes(nn.Module):
    """A detector up to its suppression of boxes, for images of the side that it was trained at."""

    anchors: Tensor
    """Default boxes (N, 4): centre x, y, width and height in px."""
    code_weights: Tensor
    """What the heads' four numbers for each box were multiplied by in training (4,)."""

    def __init__(self, detector: Detector, side: int) -> None:
        super().__init__()
        self.detector, self.side = detector, side
        images = torch.zeros(1, 3, side, side)
        with torch.no_grad():
            maps = list(detector.backbone(images).values())
        (corners,) = detector.anchor_generator(ImageList(images, [(side, side)]), maps)
        sizes = corners[:, 2:] - corners[:, :2]
        anchors = torch.cat([corners[:, :2] + sizes / 2, sizes], 1)
        self.register_buffer("anchors", anchors)
        # Made here, as LiteRT's converter fails over tensors that are made while images are run.
        self.register_buffer("code_weights", torch.tensor(detector.box_coder.weights))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (B, 3, R, R) to N default boxes, moved and sized for each image.

        Returns:
            Boxes (B, N, 4) as x1, y1, x2, y2 in px of the input, and scores (B, N, classes).
        """
        heads = self.detector.head(list(self.detector.backbone(images).values()))
        return self._boxes(heads["bbox_regression"]), heads["cls_logits"].softmax(-1)[..., 1:]

    def _boxes(self, codes: Tensor) -> Tensor:
        """Corners (B, N, 4) within the image of what the heads (B, N, 4) make of the anchors."""
        codes = codes / self.code_weights
        places, sizes = self.anchors[:, :2], self.anchors[:, 2:]
        centres = places + codes[..., :2] * sizes
        halves = codes[..., 2:].clamp(max=self.detector.box_coder.bbox_xform_clip).exp() * sizes / 2
        return torch.cat([centres - halves, centres + halves], -1).clamp(0, self.side)


@dataclass(frozen=True)
class Suppression:
    """Which default boxes of an image are detections."""

    candidates: int
    """Boxes of each class that are looked at, those of the highest scores."""
    score: float
    """What a detection's score exceeds."""
    overlap: float
    """Intersection over union above which the lower score goes, of two boxes of a class."""
    detections: int
    """Boxes of all classes that are kept, those of the highest scores."""

    @classmethod
    def of(cls, detector: Detector) -> "Suppression":
        """That of a detector of torchvision's."""
        thresholds = detector.score_thresh, detector.nms_thresh
        return cls(detector.topk_candidates, *thresholds, detector.detections_per_img)

    def __call__(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (B, N, 4) with scores (B, N, classes) to D detections in each image.

        Returns:
            Boxes (B, D, 4), scores (B, D), which fall, and labels (B, D), 1 for the first class.
            All three are 0 where there is no detection.
        """
        candidates = min(self.candidates, boxes.shape[1])
        scores, places = scores.transpose(1, 2).topk(candidates, -1)  # (B, classes, candidates)
        boxes = boxes[:, None].expand(-1, scores.shape[1], -1, -1)
        boxes = boxes.gather(2, places[..., None].expand(-1, -1, -1, 4))
        mask = kept(boxes.flatten(0, 1), scores.flatten(0, 1), self.overlap, self.score)
        scores = (scores * mask.view_as(scores)).flatten(1)
        scores, places = scores.topk(min(self.detections, scores.shape[1]), -1)
        there = scores > 0
        labels = torch.div(places, candidates, rounding_mode="floor") + 1
        boxes = boxes.flatten(1, 2).gather(1, places[..., None].expand(-1, -1, 4))
        return boxes * there[..., None], scores, labels * there


class DetectorGraph(nn.Module):
    """A whole detector without lists and branches, for images of the side it was trained at."""

    def __init__(self, detector: Detector, side: int) -> None:
        super().__init__()
        self.default_boxes = DefaultBoxes(detector, side)
        self.suppression = Suppression.of(detector)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised images (B, 3, R, R) to detections as ``Suppression`` gives them."""
        return self.suppression(*self.default_boxes(images))
