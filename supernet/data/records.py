"""Records of images: where each lies, what it shows, what it is used for, and its content.

They tell later whether the images of a test were trained on, whatever has been moved, renamed or
relabelled since. Data sets that hold files or arrays have records; any datamodule may give its own
by a method ``image_records()``.
"""

import hashlib
import json
from collections.abc import Iterable, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from supernet.data.images.image_index import index_images
from supernet.errors import UserError

NOT_USED = ("skipped", "copy")
"""In place of a split: a file that cannot be read, and one that has a copy in another split."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a run."""

    path: str
    """Relative to the root of the data, with slashes; any unique name of what is no file."""
    label: int
    """Its class; -1 where a data set gives none, as for detection."""
    split: str
    """weights, reward, val or test, train where nothing deals it further, or one of NOT_USED."""
    digest: str
    """Hash of the content: the bytes of a file, or shape, type and values of an array."""
    boxes: str = ""
    """Hash of its boxes and their classes; empty where a data set tells none."""

    def fields(self) -> list[str | int]:
        """What identifies it; a record of version 0.1 had no boxes."""
        return [self.path, self.label, self.split, self.digest, *filter(None, [self.boxes])]


def data_digest(records: Iterable[ImageRecord]) -> str:
    """Digest of data: of paths, labels, splits, contents and boxes, in any order of the records.

    It is 128 bits in hexadecimal digits.
    """
    hashed = hashlib.blake2b(digest_size=16)
    for line in sorted(json.dumps(record.fields()) for record in records):
        hashed.update(line.encode() + b"\n")
    return hashed.hexdigest()


def given_records(datamodule: Any) -> list[ImageRecord] | None:
    """Records that a datamodule gives by ``image_records()``, also as plain tuples.

    A tuple is (path, label, split, digest), with a digest of the image's boxes where it has some.

    Raises:
        UserError: when it gives something else.
    """
    method = getattr(datamodule, "image_records", None)
    if method is None:
        return None
    records = [one if isinstance(one, ImageRecord) else _record(one) for one in method()]
    if None in records:
        raise UserError(
            f"{type(datamodule).__name__}.image_records() must give (path, label, split, digest) of"
            " each image: a str, an int, and two of str; or with its boxes' digest, another str"
        )
    return [record for record in records if record]


def _record(values: Any) -> ImageRecord | None:
    match values:
        case (str(path), int(label), str(split), str(digest), *boxes) if digest:
            if len(boxes) < 2 and all(isinstance(one, str) for one in boxes):
                return ImageRecord(path, label, split, digest, *boxes)
    return None


def dataset_records(dataset: Dataset[Any], split: str) -> list[ImageRecord] | None:
    """Records of a data set that holds its files or arrays, None of any other.

    Known are ``samples`` and ``imgs`` of torchvision's folders, ``data`` with ``targets`` or
    ``labels`` of its other classes, TensorDataset, and Subset and ConcatDataset of these.
    """
    if isinstance(dataset, Subset):
        records = dataset_records(dataset.dataset, split)
        return records and [records[index] for index in dataset.indices]
    if isinstance(dataset, ConcatDataset):
        parts = [dataset_records(part, split) for part in dataset.datasets]
        known = [part for part in parts if part is not None]
        return [record for part in known for record in part] if len(known) == len(parts) else None
    found = _held(dataset, split)
    return found if found and isinstance(dataset, Sized) and len(found) == len(dataset) else None


def _held(dataset: Any, split: str) -> list[ImageRecord] | None:
    """Records of the files or arrays that a data set holds in attributes."""
    name = type(dataset).__name__
    if isinstance(dataset, TensorDataset):
        images, *others = dataset.tensors
        return _array_records(name, images, others[0] if others else None, split)
    for files in ("samples", "imgs"):
        if hasattr(dataset, files):
            return _file_records(getattr(dataset, "root", ""), getattr(dataset, files), split)
    if hasattr(dataset, "data"):
        labels = getattr(dataset, "targets", getattr(dataset, "labels", None))
        return _array_records(name, dataset.data, labels, split)
    return None


def _file_records(root: Any, samples: Any, split: str) -> list[ImageRecord] | None:
    """Records of (path, label) pairs; None where one is no file, but say a key into an archive."""
    try:
        folder = Path(root)
        files = [(_relative(Path(path), folder), _label(label)) for path, label, *_ in samples]
    except (TypeError, ValueError):
        return None
    index = {one.path: one for one in index_images(folder, [p for p, _ in files])}
    if any(image.error for image in index.values()):
        return None
    return [ImageRecord(path, label, split, index[path].digest) for path, label in files]


def _relative(path: Path, folder: Path) -> str:
    inside = path.is_relative_to(folder) and path != folder
    return (path.relative_to(folder) if inside else path.absolute()).as_posix()


def _array_records(name: str, images: Any, labels: Any, split: str) -> list[ImageRecord] | None:
    """Records of numeric arrays, named by their number; None of anything else, such as names."""
    try:
        arrays = [np.asarray(image) for image in images]
        classes = [-1] * len(arrays) if labels is None else [_label(label) for label in labels]
    except (TypeError, ValueError):
        return None
    numeric = all(array.ndim and array.dtype.kind in "buif" for array in arrays)
    if not numeric or len(arrays) != len(classes):
        return None
    return [
        ImageRecord(f"{name}/{number}", label, split, array_digest(array))
        for number, (array, label) in enumerate(zip(arrays, classes, strict=True))
    ]


def _label(label: Any) -> int:
    try:
        return int(label)
    except (TypeError, ValueError, RuntimeError):  # boxes, or several labels
        return -1


def array_digest(array: np.ndarray) -> str:
    """Hash of an array's shape, type and values."""
    hashed = hashlib.blake2b(f"{array.shape} {array.dtype.str}".encode(), digest_size=16)
    hashed.update(array.tobytes())
    return hashed.hexdigest()
