"""Targets of a detector, as a user's datamodule gives them: what is trained on, or one line."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from retrain.detect.digit_boxes import Boxes
from supernet.errors import UserError
from supernet.files.reading import short


def checked_targets(targets: Sequence[Any], num_classes: int) -> list[Boxes]:
    """Boxes (N, 4) in float32 and labels (N,) in int64 of each image, where N may be 0.

    Labels that would silently be trained as the background are refused, and so are boxes of no
    area: a loss would only become infinite.

    Raises:
        UserError: naming what is missing, or the label or the box that is wrong.
    """
    checked = [_one_target(target) for target in targets]
    labels = torch.cat([target["labels"] for target in checked])
    wrong = labels[(labels < 1) | (labels > num_classes)]
    if len(wrong):
        raise UserError(
            f"a box has label {wrong[0].item()}, allowed are 1 to {num_classes}, as 0 is the"
            " background: let the data number classes from 1 and set num_classes"
        )
    boxes = torch.cat([target["boxes"] for target in checked])
    sound = boxes.isfinite().all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1)
    if not sound.all():
        raise UserError(
            f"a box is {boxes[~sound][0].tolist()}, but x1, y1, x2, y2 need x1 < x2 and y1 < y2,"
            " all finite: mend or leave out such boxes in the data"
        )
    return checked


def _one_target(target: Any) -> Boxes:
    """The target of one image; an empty tensor of any shape and type is no box."""
    if not isinstance(target, Mapping):
        raise UserError(f"a target is {short(target)}, it must be a dictionary: {_MEANT}")
    boxes, labels = (_tensor(target, name) for name in ("boxes", "labels"))
    boxes = boxes.reshape(0, 4) if boxes.numel() == 0 else boxes
    labels = labels.reshape(0).long() if labels.numel() == 0 else labels
    if boxes.ndim != 2 or boxes.shape[1] != 4 or labels.shape != boxes.shape[:1]:
        raise UserError(
            f"a target has boxes {tuple(boxes.shape)} and labels {tuple(labels.shape)}: {_MEANT}"
        )
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise UserError(f"labels of boxes are {labels.dtype}, they must be whole numbers: {_MEANT}")
    return {"boxes": boxes.float(), "labels": labels.long()}


_MEANT = "give boxes (N, 4) as x1, y1, x2, y2 and labels (N,) from 1 of each image"


def _tensor(target: Mapping[str, Any], name: str) -> Tensor:
    if not isinstance(target.get(name), Tensor):
        raise UserError(f"{name} of a target are {short(target.get(name))}, no tensor: {_MEANT}")
    return target[name]
