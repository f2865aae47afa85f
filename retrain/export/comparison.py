"""Comparison of an exported file with PyTorch on the same images: what it computes, and says."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from retrain.detect.ssdlite import Detector
from retrain.export.formats.metadata import Metadata
from retrain.export.formats.shipment import Format, Outputs, in_one_line
from supernet.errors import UserError

NUM_ALONE = 16
"""Images that are also run one by one."""
BATCH_SIZE = 64
"""Images that are otherwise run at once."""
LOGIT_TOLERANCE = 1e-4
"""Largest difference of a logit, over the largest logit: float32 in another order of additions."""
HALF_TOLERANCE = 2e-2
"""The same for a file that computes in float16."""
SCORE_TOLERANCE = 1e-4
"""Largest difference of a detection's score, which lies between 0 and 1."""
BOX_TOLERANCE = 1e-3
"""Largest difference of a box's edge, over the side of the image."""
RUNTIME_FAILS = "its runtime refuses it"
MIN_AGREEMENT = 0.99
"""Share of images with the same best class; an image between two classes may fall on either side
within the tolerance. Or of detections: one may lie on either side of a threshold."""


def compare_metadata(kind: Format, path: Path, expected: Metadata, opset: int) -> str:
    """Why the file does not say what it was given, or empty."""
    try:
        with in_one_line("its metadata cannot be read back"):
            told = kind.read_metadata(path)
    except UserError as error:
        return str(error)
    written = told.pop("opset", opset)
    if written != opset:
        return f"it is written in opset {written}, asked for was {opset}"
    wrong = [name for name in {**expected, **told} if told.get(name) != expected.get(name)]
    return f"it does not say what it was given: {', '.join(wrong)}" if wrong else ""


@torch.no_grad()
def compare_outputs(network: nn.Module, kind: Format, path: Path, images: Tensor) -> dict[str, Any]:
    """Run images through a classifier and through its file, one by one and in batches.

    Returns:
        ``images``, ``max_difference`` and ``tolerance`` (of logits), ``agreement`` (share of
        images with the same best class) and ``failure``: why the file must not ship, or empty.
    """
    try:
        (together,), (alone,) = _run(kind, path, images)
    except UserError as error:
        return {"failure": str(error)}
    expected = torch.cat([network(batch) for batch in images.split(BATCH_SIZE)])
    outputs = {"PyTorch": expected, "the file": together, "the file, run one by one,": alone}
    broken = [name for name, logits in outputs.items() if not logits.isfinite().all()]
    if broken:  # an infinite logit would make the tolerance infinite
        return {"failure": f"{broken[0]} gives logits that are not finite"}
    differences = torch.cat([together - expected, alone - expected[: len(alone)]])
    difference = differences.abs().max().item()
    agreement = (together.argmax(1) == expected.argmax(1)).float().mean().item()
    share = HALF_TOLERANCE if kind.half else LOGIT_TOLERANCE
    tolerance = share * max(1.0, expected.abs().max().item())
    passed = difference <= tolerance and agreement >= MIN_AGREEMENT
    failure = (
        f"logits differ by {difference:.2g} (allowed {tolerance:.2g}), {agreement:.1%} of images"
        " keep their class"
    )
    return {
        "images": len(images),
        "max_difference": difference,
        "tolerance": tolerance,
        "agreement": agreement,
        "failure": "" if passed else failure,
    }


def _run(kind: Format, path: Path, images: Tensor) -> tuple[Outputs, Outputs]:
    """Outputs of a file for all images in batches, and for the first ones run one by one.

    Raises:
        UserError: with what the runtime says of a file that it cannot run.
    """
    with in_one_line(RUNTIME_FAILS):
        run = kind.open_file(path)
        together = zip(*(run(batch) for batch in images.split(BATCH_SIZE)), strict=True)
        alone = zip(*(run(image) for image in images[:NUM_ALONE].split(1)), strict=True)
        return tuple(map(torch.cat, together)), tuple(map(torch.cat, alone))


@torch.no_grad()
def compare_detections(
    detector: Detector, kind: Format, path: Path, images: Tensor
) -> dict[str, Any]:
    """Run images through torchvision's detector and through its file, one by one and in batches.

    Detections agree that have one label, and boxes and scores within the tolerances; their order
    may differ, where scores are nearly equal.

    Returns:
        ``images``, ``detections`` (of PyTorch), ``max_difference`` (of edges of boxes, px) and
        ``tolerance``, ``agreement`` (share of detections, of both, that have their like in the
        other) and ``failure``: why the file must not ship, or empty.
    """
    try:
        together, alone = _run(kind, path, images)
    except UserError as error:
        return {"failure": str(error)}
    if not all(output.isfinite().all() for output in (*together, *alone)):
        return {"failure": "the file gives boxes or scores that are not finite"}
    tolerance = BOX_TOLERANCE * images.shape[-1]
    expected = [found for batch in images.split(BATCH_SIZE) for found in detector(list(batch))]
    pairs = [*zip(expected, zip(*together, strict=True), strict=True)]
    pairs += zip(expected[: len(alone[0])], zip(*alone, strict=True), strict=True)
    rows = [_matched((e["boxes"], e["scores"], e["labels"]), f, tolerance) for e, f in pairs]
    agreed, total = (sum(counts) for counts in list(zip(*rows, strict=True))[:2])
    agreement = agreed / total if total else 1.0
    passed = agreement >= MIN_AGREEMENT
    failure = f"{agreement:.1%} of detections agree (asked for are {MIN_AGREEMENT:.0%})"
    return {
        "images": len(images),
        "detections": sum(len(found["scores"]) for found in expected),
        "max_difference": max(row[2] for row in rows),
        "tolerance": tolerance,
        "agreement": agreement,
        "failure": "" if passed else failure,
    }


def _matched(expected: Outputs, found: Outputs, tolerance: float) -> tuple[int, int, float]:
    """Detections of both that have their like, all of both, and the largest difference of likes."""
    boxes, scores, labels = (output[found[1] > 0] for output in found)
    edges = (expected[0][:, None] - boxes).abs().amax(-1)
    like = (edges <= tolerance) & (expected[2][:, None] == labels)
    like &= (expected[1][:, None] - scores).abs() <= SCORE_TOLERANCE
    agreed = int(like.any(1).sum() + like.any(0).sum())
    total = len(expected[1]) + len(scores)
    return agreed, total, edges[like].max().item() if like.any() else 0.0
