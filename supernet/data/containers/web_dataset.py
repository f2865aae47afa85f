"""WebDataset: images in shards, tar archives of samples."""

import fnmatch
import os
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from supernet.data.containers.shards import Keys, StoredShards, left_out, shard_labels
from supernet.data.containers.told_layout import LabelledPaths, some, told_layout
from supernet.data.images.folder_layout import SPLIT_NAMES, Layout
from supernet.data.resumable import Blocks
from supernet.data.stored_images import ImageFiles, StoredImages
from supernet.errors import MissingDataError, UserError, check_choice, check_range
from supernet.files.reading import read_text

_SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}


class WebDataset(StoredImages):
    """Images in shards as WebDataset has them: tar archives of ``KEY.jpg`` with ``KEY.cls``.

    A folder of ``.tar`` files, whose names, or else their folders', tell their splits, as in
    ``train-000007.tar``; splits that are missing are split off ``train``, and where none is named,
    all is split. Images are split, cropped and known by their content as those of an
    ``ImageFolder`` with the same files are, whichever shard holds them: processes share images, so
    that there may be fewer shards than processes. No package is needed.

    Args:
        root: the folder of the shards; those in folders below count as well.
        splits: patterns of the shards that serve as train, val and test, such as ``{"train":
            "train-*.tar", "test": "validation-*.tar"}``; by default by their names.
        image_key: what follows the first dot in the name of a sample's image, several with
            semicolons, such as ``jpg;png``; any suffix of an image by default.
        label_key: what follows the first dot in the name of a sample's label, a text: a whole
            number from 0, or the name of a class.
        class_names: a text file with the name of a class on each line, in the order of the numbers.
        shards_at_once: shards that are shuffled together in training; all by default. Some suffice
            where each holds all classes, and let a slow disk that is larger than the memory read
            one place after another.
        settings: those of all images that are stored (``StoredImages``).

    Raises:
        UserError: if there is no shard, one cannot be read, or a sample has no label or one that is
            no class; or as of all stored images.
    """

    may_change = ("root", "on_bad_image")

    def __init__(
        self,
        root: str,
        splits: dict[str, str] | None = None,
        image_key: str = "",
        label_key: str = "cls",
        class_names: str | None = None,
        shards_at_once: int | None = None,
        **settings: Any,
    ) -> None:
        self.shards_at_once = shards_at_once
        check_range("", self, "shards_at_once", least=1)
        self.store, layout = read_shards(root, splits, Keys(image_key, label_key), class_names)
        super().__init__(layout, self.store, **settings)

    def _images(self, *splits: str, augment: bool) -> ImageFiles:
        images = super()._images(*splits, augment=augment)
        if self.shards_at_once:
            shards = [self.store.located(path)[0] for path, _ in images.files]
            _, numbers = np.unique(shards, return_inverse=True)
            images.blocks = Blocks(numbers, self.shards_at_once)
        return images


def read_shards(
    root: str, splits: Mapping[str, str] | None, keys: Keys, class_names: str | None
) -> tuple[StoredShards, Layout]:
    """Images of a folder of shards, their splits and classes.

    Raises:
        UserError: naming what is wrong.
    """
    place = Path(root).expanduser()
    found = _shards(place)
    chosen = _told_splits(root, found, splits) if splits is not None else _splits(root, found)
    store = StoredShards(place, list(chain(*chosen.values())), keys)
    images = {
        split: LabelledPaths(
            f"{split} shards",
            [f"{shard}/{_name(name)}" for shard in held for name in store.shards[shard].names],
            [label for shard in held for label in shard_labels(store.shards[shard])],
        )
        for split, held in chosen.items()
    }
    if not images["train"].paths:
        raise UserError(
            f"the shards of {root} hold no image, of {some(chosen['train'])}: name the members that"
            " are by --data.image_key"
        )
    unused = {"shards of no split": len(found) - len(store.shards)} if splits else {}
    reasons = {**left_out(list(store.shards.values())), **{k: n for k, n in unused.items() if n}}
    names = _class_names(class_names) if class_names else None
    return store, told_layout(place, images, names, reasons)


def _name(name: bytes) -> str:
    return os.fsdecode(name)


def _shards(root: Path) -> list[str]:
    """Paths of the shards below a folder, sorted, but for hidden ones."""
    if not root.is_dir():
        raise MissingDataError(f"{root} is not a folder: give one that holds shards, .tar files")
    found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.tar"))
    shards = [one for one in found if not any(part.startswith(".") for part in one.split("/"))]
    if not shards:
        others = [path.name for path in sorted(root.iterdir())]
        raise UserError(
            f"{root} holds no shards, .tar files{f', but {some(others)}' if others else ''}: put"
            " them there, unpacked to plain .tar where they are compressed"
        )
    return shards


def _splits(root: str, shards: Sequence[str]) -> dict[str, list[str]]:
    """Shards of each split by the words in their names, else in those of their folders."""
    held: dict[str, list[str]] = {}
    for shard in shards:
        held.setdefault(_split_in(shard), []).append(shard)
    unnamed = held.pop("", [])
    if not held:
        return {"train": unnamed}
    told = """--data.splits '{"train": "PATTERN", "test": "PATTERN"}'"""
    if unnamed:
        raise UserError(
            f"the shards {some(unnamed)} of {root} name no split, but {some(*held.values())} do:"
            f" rename them, or say which serve as what, {told}"
        )
    if "train" not in held:
        raise UserError(
            f"{root} has shards of {some(held)}, but none of train: add some, or say which serve as"
            f" what, {told}"
        )
    return {split: held[split] for split in SPLIT_NAMES if split in held}


def _split_in(shard: str) -> str:
    """The split that a shard's path names, the innermost first; empty where none is named."""
    for part in reversed(shard.split("/")):
        words = re.split(r"[^a-z]+", part.casefold())
        named: Collection[str] = {_SPLIT_OF[word] for word in words if word in _SPLIT_OF}
        if len(named) == 1:
            return next(iter(named))
    return ""


def _told_splits(root: str, shards: Sequence[str], told: Mapping[str, str]) -> dict[str, list[str]]:
    """Shards of each split by patterns of their paths."""
    held: dict[str, list[str]] = {}
    for split, pattern in told.items():
        check_choice("data.splits", split, tuple(SPLIT_NAMES))
        held[split] = [shard for shard in shards if fnmatch.fnmatchcase(shard, pattern)]
        if not held[split]:
            raise UserError(
                f"data.splits names {pattern!r}, but no shard of {root} is called so, they are"
                f" {some(shards)}"
            )
    twice = [one for one in shards if sum(one in names for names in held.values()) > 1]
    if twice or "train" not in held:
        said = f"has {twice[0]} in two splits" if twice else "names no shards for train"
        raise UserError(f"data.splits {said}: give train, and each shard to one split at most")
    return {split: held[split] for split in SPLIT_NAMES if split in held}


def _class_names(path: str) -> list[str]:
    """Names on the lines of a text file."""
    text = read_text(Path(path).expanduser(), "give a text file with a class on each line")
    names = [line.strip() for line in text.rstrip().splitlines()]
    if "" in names:  # all names after it would be those of other numbers
        raise UserError(
            f"line {1 + names.index('')} of {path} is empty: name a class on each line, in the"
            " order of the numbers"
        )
    return names
