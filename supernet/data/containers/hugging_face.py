"""HuggingFace: data sets of Hugging Face's library, in a folder or on its hub, and their images."""

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supernet.data.containers.told_layout import LabelledPaths, choose_splits, some, told_layout
from supernet.data.images.folder_layout import Layout
from supernet.data.images.index_cache import NO_FILE, Stamp, file_stamp
from supernet.data.stored_images import StoredImages
from supernet.errors import MissingDataError, UserError, one_line

SAVED = ("dataset_dict.json", "state.json")
"""One of these is in each folder that ``save_to_disk`` has written."""
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_ON_DISK = "a folder that save_to_disk wrote"


class HuggingFace(StoredImages):
    """A data set of Hugging Face's library `datasets`, in a folder or from the hub.

    Its splits of the usual names (``train``, ``validation``, ``test`` ...) stay what they are,
    those that are missing are split off ``train``, and others are left out. Images are split,
    cropped and known by their content as those of an ``ImageFolder`` with the same files are.
    Needs the extra ``huggingface``.

    Args:
        root: a folder that ``save_to_disk`` wrote, or one of parquet files; or a name on the hub,
            such as ``ylecun/mnist``.
        image_column: name of the column of the images.
        label_column: name of the column of the labels: classes, whole numbers from 0 or names.
        splits: names of the splits that serve as train, val and test, such as ``{"train": "train",
            "test": "validation"}`` for ImageNet, whose test images have no labels; by default by
            their usual names.
        subset: name of the subset (configuration) of a data set on the hub that has several.
        revision: branch, tag or commit on the hub; a commit says which images, for good.
        settings: those of all images that are stored (``StoredImages``).

    Raises:
        UserError: if the data set cannot be read, lacks a column, or has labels that are no class;
            or as of all stored images.
    """

    may_change = ("root", "on_bad_image")

    def __init__(
        self,
        root: str,
        image_column: str = "image",
        label_column: str = "label",
        splits: dict[str, str] | None = None,
        subset: str | None = None,
        revision: str | None = None,
        **settings: Any,
    ) -> None:
        layout, rows = read_rows(
            root, Columns(image_column, label_column), splits, subset, revision
        )
        super().__init__(layout, rows, **settings)


@dataclass(frozen=True)
class Columns:
    """Columns of a data set that are read."""

    image: str
    label: str


class StoredRows:
    """Images in the rows of a data set, each under the path ``ROOT/SPLIT/NUMBER``.

    Args:
        root: of the paths.
        splits: ``datasets.Dataset`` of each split, by the name that the data set gives it.
        column: of the images.
    """

    def __init__(self, root: Path, splits: Mapping[str, Any], column: str) -> None:
        from datasets import Image

        self._start, self._column = len(str(root)) + 1, column
        self._splits = {
            name: rows.select_columns([column]).cast_column(column, Image(decode=False))
            for name, rows in splits.items()
        }
        self._stamps = {name: _stamp(rows, column) for name, rows in self._splits.items()}

    def content(self, path: str) -> bytes:
        """Bytes of an image.

        Raises:
            OSError: or ValueError, if they cannot be had.
        """
        split, _, number = path[self._start :].rpartition("/")
        stored = self._splits[split][int(number)][self._column]
        if stored is None:
            raise ValueError("the row has no image")
        content: bytes | None = stored["bytes"]
        return Path(stored["path"]).read_bytes() if content is None else content

    def stamp(self, path: str) -> Stamp:
        """Stamp of the files of an image's split."""
        return self._stamps[path[self._start :].rpartition("/")[0]]


def _stamp(rows: Any, column: str) -> Stamp:
    """Stamp of all files of some rows; none where the images are in files of their own."""
    stamps = sorted(file_stamp(one["filename"]) for one in rows.cache_files)
    stored = rows[0][column] if len(rows) else None
    if not stamps or stored is None or stored["bytes"] is None:
        return NO_FILE
    sizes, _, changed, status = zip(*stamps, strict=True)
    inodes = hashlib.blake2b(repr(stamps).encode(), digest_size=7).digest()
    return sum(sizes), int.from_bytes(inodes), max(changed), max(status)


def read_rows(
    root: str,
    columns: Columns,
    splits: Mapping[str, str] | None = None,
    subset: str | None = None,
    revision: str | None = None,
) -> tuple[Layout, StoredRows]:
    """Classes, splits and images of a data set.

    Args:
        root: a folder that ``save_to_disk`` wrote or that holds parquet files, or a name on the
            hub.
        columns: that are read.
        splits: name of the split that serves as train, as val and as test; None goes by usual
            names.
        subset: of a data set on the hub that has several.
        revision: of a data set on the hub.

    Raises:
        UserError: if it cannot be read, or lacks a column, labels or a split.
    """
    held = _load(root, subset, revision)
    chosen = choose_splits(root, list(held), splits)
    taken = {split: held[name] for split, name in chosen.items()}
    for rows in taken.values():
        _check_columns(root, rows, columns)
    names = _class_names(root, taken, columns.label)
    images = {
        split: LabelledPaths(
            chosen[split],
            [f"{chosen[split]}/{number}" for number in range(len(rows))],
            rows[columns.label][:],
        )
        for split, rows in taken.items()
    }
    left_out = {
        f"of the split {name}": len(rows)
        for name, rows in held.items()
        if name not in chosen.values()
    }
    place = Path(root).expanduser()
    layout = told_layout(place, images, names, left_out)
    by_name = {chosen[split]: rows for split, rows in taken.items()}
    return layout, StoredRows(place, by_name, columns.image)


def _load(root: str, subset: str | None, revision: str | None) -> dict[str, Any]:
    """All splits of a data set, one called ``train`` where it has none.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        import datasets
    except ImportError:
        raise UserError(
            "data.HuggingFace needs `pip install 'mnasnet-search[huggingface]'`"
        ) from None
    folder = Path(root).expanduser()
    if not folder.is_dir():
        root = re.sub("^hfi?ds/", "", root)  # as timm's factory names data sets of the hub
    if not folder.is_dir() and not _HUB_NAME.fullmatch(root):
        raise MissingDataError(
            f"{root} is not a folder, nor a name on the Hugging Face hub such as ylecun/mnist: give"
            f" {_ON_DISK}, or such a name"
        )
    try:
        with _quiet():
            if any((folder / name).is_file() for name in SAVED):
                found = datasets.load_from_disk(str(folder))
            else:
                found = datasets.load_dataset(
                    str(folder) if folder.is_dir() else root, subset, revision=revision
                )
    except ConnectionError as error:
        raise MissingDataError(
            f"{root} is not a folder here, and the Hugging Face hub cannot be reached"
            f" ({_reason(error)}): give {_ON_DISK}, or find a network; what was read from the hub"
            " before is there without one"
        ) from None
    except Exception as error:  # noqa: BLE001 - its readers raise whatever they meet
        advice = f"give {_ON_DISK}, or correct the name, the subset or the revision"
        raise UserError(
            f"{root} cannot be read as a Hugging Face data set ({_reason(error)}): {advice}"
        ) from None
    return dict(found) if isinstance(found, dict) else {"train": found}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines that the hub's client writes of each attempt to reach it."""
    client = logging.getLogger("huggingface_hub")
    level = client.level
    client.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        client.setLevel(level)


def _reason(error: Exception) -> str:
    reason = one_line(error) or type(error).__name__
    return reason if len(reason) <= 300 else f"{reason[:300]}..."


def _check_columns(root: str, rows: Any, columns: Columns) -> None:
    for option, name in (("image_column", columns.image), ("label_column", columns.label)):
        if name not in rows.column_names:
            raise UserError(
                f"{root} has no column {name!r}, but {some(rows.column_names)}: name it by"
                f" --data.{option}"
            )
    kind = rows.features[columns.image]
    if type(kind).__name__ != "Image" and getattr(kind, "dtype", "") != "binary":
        raise UserError(
            f"the column {columns.image} of {root} holds no images (its type is"
            f" {one_line(kind)[:80]}): name another by --data.image_column, or cast it to"
            " datasets.Image()"
        )


def _class_names(root: str, splits: Mapping[str, Any], column: str) -> Sequence[str] | None:
    """Names of the classes, the same in all splits; None where labels are plain values."""
    names = {split: getattr(rows.features[column], "names", None) for split, rows in splits.items()}
    told: Sequence[str] | None = names["train"]
    for split, others in names.items():
        if others != told:
            raise UserError(
                f"the splits train and {split} of {root} name other classes in the column {column}:"
                " cast them to one datasets.ClassLabel"
            )
    return told
