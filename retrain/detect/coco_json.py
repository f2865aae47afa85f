"""COCO's file of instances: images, their boxes and classes, read and checked. No torch.

The layout is that of pycocotools and torchvision (https://cocodataset.org/#format-data): lists
``images``, ``annotations`` and ``categories``; boxes are x, y, width and height in px of the image
as it is stored.
"""

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from supernet.errors import UserError
from supernet.files.json_text import parse_json
from supernet.files.reading import has_control, short, typed_object

EDGE = 1.0
"""Px by which a box may lie outside of its image: roundings, which are cut off."""
LEAST = 0.01
"""Px of the least side of a box: of less, a detector's numbers may leave none."""
SHOWN = 5
"""Faulty boxes that one line names."""
Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in px."""


@dataclass(frozen=True)
class CocoImage:
    """One image of a file of instances."""

    path: str
    """Relative to the folder of images."""
    width: int
    height: int
    boxes: tuple[Box, ...]
    labels: tuple[int, ...]
    """Of the boxes: 1 is the first class."""

    def digest(self) -> str:
        """Hash of the boxes and their labels, in the order in which a detector is given them."""
        told = json.dumps([self.boxes, self.labels]).encode()
        return hashlib.blake2b(told, digest_size=16).hexdigest()


@dataclass(frozen=True)
class CocoFile:
    """What a file of instances tells."""

    classes: tuple[str, ...]
    """Names in the order of their numbers in the file, which may have gaps."""
    images: tuple[CocoImage, ...]
    bad_boxes: tuple[str, ...]
    """What is wrong with boxes that describe nothing, which are left out."""
    num_boxes: int
    """All boxes, bad ones included."""
    num_crowds: int
    """Boxes around crowds, which are left out."""


def read_coco(path: Path) -> CocoFile:
    """The images of a file of instances.

    Raises:
        UserError: naming the file, the entry and what is wrong with it.
    """
    try:
        content = typed_object("the content", parse_json(path.read_bytes()))
        classes = _classes(content)
        images, boxes = _images(content), _Boxes(classes)
        for number, entry in enumerate(_entries(content, "annotations"), 1):
            boxes.add(f"annotation {number}", entry, images)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; name COCO's json file") from None
    except UserError as error:
        raise UserError(f"{path} is no file of COCO's instances: {error}") from None
    found = [
        CocoImage(*image, tuple(boxes.held[key]), tuple(boxes.labels[key]))
        for key, image in images.items()
    ]
    return CocoFile(
        tuple(name for name, _ in classes.values()),
        tuple(found),
        tuple(boxes.bad),
        sum(map(len, boxes.held.values())) + len(boxes.bad),
        boxes.num_crowds,
    )


def _entries(content: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    entries = content.get(name)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{name} is {short(entries)}, it must be a list of objects")
    return entries


def _classes(content: Mapping[str, Any]) -> dict[int, tuple[str, int]]:
    """Names and labels by the file's numbers of the classes."""
    names: dict[int, str] = {}
    for entry in _entries(content, "categories"):
        match entry:
            case {"id": int(key), "name": str(name)} if key not in names and not has_control(name):
                names[key] = name
            case _:
                raise UserError(
                    f"a category is {short(entry)}, it must have an id of its own and a name"
                )
    if not names:
        raise UserError("categories is empty: there is nothing to find")
    twice = [name for name in names.values() if list(names.values()).count(name) > 1]
    if twice:
        raise UserError(f"two categories have the name {twice[0]!r}")
    return {key: (names[key], label) for label, key in enumerate(sorted(names), 1)}


def _images(content: Mapping[str, Any]) -> dict[int, tuple[str, int, int]]:
    """Path, width and height by the file's numbers of the images."""
    images: dict[int, tuple[str, int, int]] = {}
    for entry in _entries(content, "images"):
        match entry:
            case {
                "id": int(key),
                "file_name": str(name),
                "width": int(width),
                "height": int(height),
            }:
                path = PurePosixPath(name)
                if key in images or min(width, height) < 1:
                    raise UserError(f"image {short(name)} has the id {key} of another, or no size")
                if has_control(name) or path.is_absolute() or ".." in path.parts or not path.parts:
                    raise UserError(
                        f"image {key} has the file_name {short(name)}, not a path within"
                    )
                images[key] = (path.as_posix(), width, height)
            case _:
                raise UserError(
                    f"an image is {short(entry)}, it must have id, file_name, width and height"
                )
    if not images:
        raise UserError("images is empty")
    paths = [path for path, _, _ in images.values()]
    if len(set(paths)) < len(paths):
        raise UserError("two images have one file_name")
    return images


class _Boxes:
    """Boxes of each image, as they are read."""

    def __init__(self, classes: Mapping[int, tuple[str, int]]) -> None:
        self.classes = classes
        self.held, self.labels = (
            defaultdict[int, list[Box]](list),
            defaultdict[int, list[int]](list),
        )
        self.bad: list[str] = []
        self.num_crowds = 0

    def add(
        self, name: str, entry: Mapping[str, Any], images: Mapping[int, tuple[str, int, int]]
    ) -> None:
        """Add an annotation; crowds are counted, bad ones named."""
        match entry:
            case {"image_id": int(image), "category_id": int(category)}:
                pass
            case _:
                raise UserError(f"{name} is {short(entry)}, it must have image_id and category_id")
        if image not in images or category not in self.classes:
            field = "image_id" if image not in images else "category_id"
            raise UserError(f"{name} has the {field} {entry[field]}, which is none of the file's")
        path, width, height = images[image]
        box = _corners(entry.get("bbox"), width, height)
        if entry.get("iscrowd"):
            self.num_crowds += 1
        elif box is None:
            told = short(entry.get("bbox"))
            self.bad.append(f"{name}, {told} in {path} of {width}x{height} px")
        else:
            self.held[image].append(box)
            self.labels[image].append(self.classes[category][1])


def _corners(told: Any, width: int, height: int) -> Box | None:
    """Corners of a box within its image; None where it describes nothing there."""
    if not isinstance(told, list) or len(told) != 4:
        return None
    if not all(type(one) in (int, float) and math.isfinite(one) for one in told):
        return None
    x, y, w, h = told
    inside = min(x, y) >= -EDGE and x + w <= width + EDGE and y + h <= height + EDGE
    box = (max(0.0, x), max(0.0, y), min(float(width), x + w), min(float(height), y + h))
    return box if inside and min(box[2] - box[0], box[3] - box[1]) >= LEAST else None
