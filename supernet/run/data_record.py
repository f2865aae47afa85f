"""Records of a run's data: every image with its content, kept in the run folder and compared later.

Each record is a file named by its digest, which the checkpoints hold, so that the weights of every
checkpoint are known by the images that made them.
"""

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from supernet.data.records import ImageRecord, data_digest
from supernet.data_description import DataDescription
from supernet.errors import UserError, one_line
from supernet.files.reading import typed
from supernet.files.writing import write_atomic

FOLDER = "data"
"""Folder of the records in a run's."""
TRAINED = ("train", "weights", "reward")
"""Splits from which weights or a controller learn."""
FACTS = ("label", "path", "split", "boxes")
"""What may change of an image whose content stays, in the order of ``DataChange``."""
_FORMAT = {"format": "mnasnet-data", "version": 1}


@dataclass(frozen=True)
class DataRecord:
    """Images of a run."""

    classes: Sequence[str]
    images: Sequence[ImageRecord]
    """All images of the data, with their splits."""
    earlier: Sequence[str] = ()
    """Contents that other runs have trained on before: the search's, that of first weights."""

    @property
    def digest(self) -> str:
        """Digest of the images."""
        return data_digest(self.images)

    def contents(self, *splits: str) -> set[str]:
        """Digests of the contents of these splits, of all that are used where none is named."""
        chosen = splits or (*TRAINED, "val", "test")
        return {image.digest for image in self.images if image.split in chosen}

    @property
    def trained(self) -> set[str]:
        """Digests of all contents that the weights, or what chose the network, learned from."""
        return self.contents(*TRAINED) | set(self.earlier)


def record_file(run: Path, digest: str) -> Path:
    """Path of a record in a run's folder."""
    return run / FOLDER / f"{digest}.json.gz"


def write_record(run: Path, record: DataRecord) -> None:
    """Keep a record in a run's folder, unless it is there.

    Raises:
        UserError: when the folder cannot be written.
    """
    path = record_file(run, record.digest)
    fields: dict[str, Any] = {
        **_FORMAT,
        "classes": list(record.classes),
        "images": [one.fields() for one in record.images],
        "earlier": list(record.earlier),
    }
    content = gzip.compress(json.dumps(fields, separators=(",", ":")).encode(), mtime=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make {path.parent} ({error.strerror}): make room or mend the folder, then run"
            " the same command again"
        ) from None
    write_atomic(path, content)


def read_record(runs: Iterable[Path], digest: str) -> DataRecord | None:
    """The record of this digest in the first of some folders that has it, None if none does.

    Raises:
        UserError: when the file is not the one that was written.
    """
    for run in runs:
        path = record_file(run, digest)
        if path.is_file():
            return _read(path, digest)
    return None


def _read(path: Path, digest: str) -> DataRecord:
    try:
        fields = json.loads(gzip.decompress(path.read_bytes()))
        record = DataRecord(
            tuple(fields["classes"]),
            [ImageRecord(*values) for values in fields["images"]],
            tuple(fields["earlier"]),
        )
        reason = "" if record.digest == digest else "its content has changed"
    except OSError as error:
        reason = error.strerror or one_line(error)
    except (ValueError, TypeError, KeyError, AttributeError, EOFError, zlib.error) as error:
        reason = f"{type(error).__name__}: {one_line(error)[:80]}"
    if reason:
        raise UserError(
            f"{path}, the record of the images that the run was trained on, is not as it was"
            f" written ({reason}): restore it from a copy of the run"
        )
    return record


@dataclass(frozen=True)
class DataChange:
    """What has become of the images of a run, by their content."""

    added: int
    removed: int
    relabelled: int
    renamed: int
    dealt: int
    """Images that are in another split."""
    annotated: int
    """Images that have other boxes, or boxes of other classes."""

    @classmethod
    def between(cls, before: DataRecord, now: DataRecord) -> "DataChange":
        """Changes from a record to another; classes are compared by name."""
        old, new = (
            {name: Counter(_facts(record, name)) for name in ("content", *FACTS)}
            for record in (before, now)
        )
        added = (new["content"] - old["content"]).total()
        removed = (old["content"] - new["content"]).total()
        # What stays has one fact more or less for each that has been added or removed.
        others = [(new[name] - old[name]).total() - added for name in FACTS]
        if not all(any(image.boxes for image in record.images) for record in (before, now)):
            others[-1] = 0  # version 0.1 noted no boxes
        return cls(added, removed, *(max(0, number) for number in others))

    def __str__(self) -> str:
        """The counts that are not 0, such as ``3 added, 1 renamed``."""
        counts = {
            "added": self.added,
            "removed": self.removed,
            "relabelled": self.relabelled,
            "renamed": self.renamed,
            "in another split": self.dealt,
            "with other boxes": self.annotated,
        }
        return ", ".join(f"{number:,} {name}" for name, number in counts.items() if number)


def _facts(record: DataRecord, name: str) -> list[tuple[str, object]]:
    """The content of each image and one fact of it."""
    names = dict(enumerate(record.classes))
    facts = {
        "content": lambda image: "",
        "label": lambda image: names.get(image.label, ""),
        "path": lambda image: image.path,
        "split": lambda image: image.split,
        "boxes": lambda image: image.boxes,
    }
    return [(image.digest, facts[name](image)) for image in record.images if image.digest]


def check_classes(before: Sequence[str], now: Sequence[str]) -> None:
    """Refuse data whose classes are not those of a run: its outputs would get wrong names.

    Names are compared where both data have names of their own, and not numbers.

    Raises:
        UserError: naming a class that is new or gone, or the order.
    """
    if list(before) == list(now):
        return
    numbered = [list(names) == [str(i) for i in range(len(names))] for names in (before, now)]
    if any(numbered) and len(before) == len(now):
        return
    new, gone = ([x for x in a if x not in b] for a, b in ((now, before), (before, now)))
    said = [f"the class {new[0]!r}, which it was not trained on"] if new else []
    said += [f"no class {gone[0]!r}, which it was"] if gone else []
    raise UserError(
        f"the data have {' and '.join(said) or 'the same classes in another order'}"
        f" ({len(now)} classes; the run {len(before)}): give the data that the run was trained on,"
        " or start a new --run"
    )


def saved_data(path: Path) -> DataDescription | None:
    """What a checkpoint of a run says of its data; None if version 0.1 wrote it.

    Raises:
        UserError: when the file is no whole checkpoint.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        told = checkpoint.get("data")
    except Exception as error:  # noqa: BLE001 - a broken file may raise anything
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UserError(f"{path} is no whole checkpoint ({reason}): give another") from None
    return None if told is None else typed(f"{path}: data", told, DataDescription)
