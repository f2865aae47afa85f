"""Layout of a folder of images: its classes, the files of its splits, and what is left out.

A folder holds a folder for each class, or ``train`` beside at most one folder for validation and
one for testing, each of which holds the class folders. What is nearly one of these is refused, as
a guess would train on the wrong classes or on test images. No torch.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from supernet.data.images.image_reading import image_suffixes
from supernet.errors import MissingDataError, UserError

SPLIT_NAMES: Mapping[str, Sequence[str]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev", "eval"),
    "test": ("test", "testing"),
}
"""Names of the folder of each split, in small or capital letters."""
_SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}
_SYSTEM_NAMES = {
    "__macosx",
    "__pycache__",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "desktop.ini",
    "ehthumbs.db",
    "lost+found",
    "system volume information",
    "thumbs.db",
}
"""What operating systems and archives leave beside images, besides names that begin with a dot."""


@dataclass(frozen=True)
class Layout:
    """Classes and files of a folder of images."""

    root: Path
    classes: tuple[str, ...]
    """Names of the class folders, sorted: class ``i`` is ``classes[i]``."""
    files: dict[str, list[tuple[str, int]]]
    """Paths and classes of the images of each split that has a folder of its own, by class and
    name; all are of ``train`` where the folder holds class folders."""
    left_out: dict[str, int]
    """Number of files and folders that are not read, by the reason: a suffix, ``hidden`` ..."""

    @property
    def left_out_line(self) -> str:
        """What is left out and why, such as ``60 .gif ignored``; empty where nothing is."""
        reasons = sorted(self.left_out.items(), key=lambda item: (-item[1], item[0]))
        counts = [f"{count:,} {reason}" for reason, count in reasons]
        return f"{', '.join(counts)} ignored" if counts else ""


def read_layout(root: str | Path) -> Layout:
    """Layout of a folder; a folder that is linked into itself is walked once.

    Raises:
        UserError: when the folder is missing, cannot be read, or is only nearly one of the layouts:
            the line says what was seen and the ways out.
    """
    walk = _Walk(Path(root).expanduser())
    splits = _split_folders(walk.root, walk.folders(walk.root))
    if splits["train"] != walk.root:
        walk.leave_files_out(walk.root)
    named = {split: walk.class_folders(folder) for split, folder in splits.items()}
    _check_same_classes(splits, named)
    classes = tuple(sorted(named["train"]))
    for split, folder in splits.items():
        _check_one_level(folder, {name: walk.folders(path) for name, path in named[split].items()})
    files = {split: walk.images(named[split], classes) for split in splits}
    return Layout(walk.root, classes, files, dict(walk.left_out))


def _split_folders(root: Path, names: Sequence[str]) -> dict[str, Path]:
    """The folder of each split that has its own; ``train`` is the root itself if none has."""
    splits = {name: _SPLIT_OF[name.casefold()] for name in names if name.casefold() in _SPLIT_OF}
    others = [name for name in names if name not in splits]
    if others and set(splits.values()) <= {"train"} and "train" not in map(str.casefold, splits):
        return {"train": root}  # a class may be called training
    if not splits:
        return {"train": root}
    seen = f"{root} holds {_some(list(splits))}, the name of a split,"
    if "train" not in splits.values():
        raise UserError(
            f"{seen} but no folder train{_beside(others)}: put what is trained on into"
            f" {root / 'train' / 'CLASS'}, or rename {_some(list(splits))} if it is a class"
        )
    if others:
        raise UserError(
            f"{seen}{_beside(others)}, no split (those are {_all_names()}): move {_some(others)}"
            f" away, or give {root / next(iter(splits))} alone as the folder of images"
        )
    by_split: dict[str, Path] = {}
    for name, split in splits.items():
        if split in by_split:
            raise UserError(
                f"{root} holds both {by_split[split].name} and {name}, which name one split: merge"
                " them or move one away"
            )
        by_split[split] = root / name
    return {split: by_split[split] for split in SPLIT_NAMES if split in by_split}


def _check_same_classes(
    splits: Mapping[str, Path], named: Mapping[str, Mapping[str, Path]]
) -> None:
    """Refuse splits that lack a class which another one has."""
    every = {name: split for split, names in reversed(list(named.items())) for name in names}
    for split, folder in splits.items():
        if missing := sorted(set(every) - set(named[split])):
            other = splits[every[missing[0]]]
            raise UserError(
                f"{folder} has no class folder {_some(missing)}, {other} has: give all splits the"
                f" same class folders, or move {folder.name} away"
            )


def _check_one_level(folder: Path, inside: Mapping[str, Sequence[str]]) -> None:
    """Refuse class folders that hold splits or class folders themselves."""
    for name, folders in inside.items():
        splits = [one for one in folders if one.casefold() in _SPLIT_OF]
        if splits:
            raise UserError(
                f"{folder / name} would be a class, but holds {_some(splits)}, the name of a split:"
                f" give {folder / name} as the folder of images, or arrange"
                f" {folder / splits[0] / 'CLASS'}"
            )
        others = [one for one in folders if one in inside and one != name]
        if others:
            raise UserError(
                f"{folder} has class folders on two levels, {others[0]} and"
                f" {Path(name, others[0])}: move one of them away, or give {folder / name} as the"
                " folder of images"
            )


class _Entry(NamedTuple):
    """What lies in a folder."""

    name: str
    path: str
    kind: str
    """``file``, ``folder``, or why it is neither."""

    @classmethod
    def of(cls, found: os.DirEntry[str]) -> "_Entry":
        """Entry of what ``os.scandir`` has found."""
        try:
            kind = "folder" if found.is_dir() else "file" if found.is_file() else "special files"
            if kind == "special files" and found.is_symlink() and not Path(found).exists():
                kind = "broken links"
        except OSError:  # a link to itself
            kind = "broken links"
        return cls(found.name, found.path, kind)


@dataclass
class _Walk:
    """A walk through a folder, which counts what it leaves out."""

    root: Path
    left_out: Counter[str] = field(default_factory=Counter)
    _entries: dict[Path, list[_Entry]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise MissingDataError(
                f"{self.root} is not a folder: give one that holds a folder per class"
            )
        self._suffixes = image_suffixes()
        self._walked: dict[tuple[int, int], Path] = {}
        # A link to a folder above would lead into the images again, or into all of a disk.
        self._above = {_identity(folder) for folder in (self.root, *self.root.resolve().parents)}

    def _visible(self, folder: Path) -> list[_Entry]:
        """What lies in a folder, sorted by name, but for what is hidden."""
        if folder not in self._entries:
            try:
                with os.scandir(folder) as found:
                    entries = sorted(map(_Entry.of, found))
            except OSError as error:
                raise UserError(
                    f"cannot read the folder {folder} ({error.strerror}): make it readable or move"
                    " it away"
                ) from None
            visible = [entry for entry in entries if not _is_hidden(entry.name)]
            self._count("hidden", len(entries) - len(visible))
            self._entries[folder] = visible
        return self._entries[folder]

    def _count(self, reason: str, number: int = 1) -> None:
        if number:
            self.left_out[reason] += number

    def folders(self, folder: Path) -> list[str]:
        """Names of the folders in a folder, sorted."""
        return [entry.name for entry in self._visible(folder) if entry.kind == "folder"]

    def class_folders(self, folder: Path) -> dict[str, Path]:
        """The class folders in a folder by their names, at least two."""
        named: dict[str, Path] = {}
        for name in self.folders(folder):
            # Archives of macOS spell an accent with two characters, other systems with one.
            spelled = unicodedata.normalize("NFC", name)
            if not spelled.isprintable() or spelled.casefold() == "train" or spelled in named:
                raise UserError(
                    f"{folder} holds a folder {name!a}, which no class may be called, or"
                    " another one is: rename it, or arrange train/CLASS"
                )
            named[spelled] = folder / name
        if len(named) < 2:
            raise UserError(
                f"{folder} holds {len(named)} class folder(s), at least 2 are needed:"
                f"{self._inner(named)} put the images into {folder / 'CLASS_A'},"
                f" {folder / 'CLASS_B'} and so on"
            )
        self.leave_files_out(folder)
        if folder != self.root:
            self._enter(folder)
        for path in named.values():
            self._enter(path)
        return named

    def leave_files_out(self, folder: Path) -> None:
        """Count the files that lie beside folders of classes or splits."""
        for entry in self._visible(folder):
            if entry.kind != "folder":
                self._leave_out(entry, "outside class folders")

    def _inner(self, named: Mapping[str, Path]) -> str:
        """The advice to give the only folder itself, where it holds folders."""
        inner = [path for path in named.values() if len(self.folders(path)) > 1]
        return f" give {inner[0]} as the folder of images, or" if inner else ""

    def _enter(self, folder: Path) -> None:
        """Note a split or class folder as walked; the same one under two names is refused."""
        first = self._walked.setdefault(_identity(folder), folder)
        if first != folder:
            raise UserError(f"{folder} and {first} are one folder, linked: remove the link")
        self._above |= {_identity(parent) for parent in folder.resolve().parents}

    def images(self, named: Mapping[str, Path], classes: Sequence[str]) -> list[tuple[str, int]]:
        """Paths and classes of the images in class folders."""
        found: list[tuple[str, int]] = []
        for label, name in enumerate(classes):
            before = self.left_out.copy()
            paths = [(path, label) for path in self._image_paths(named[name])]
            if not paths:
                others = Layout(self.root, (), {}, self.left_out - before).left_out_line
                raise UserError(
                    f"{named[name]} holds no images ({', '.join(self._suffixes)})"
                    f"{f', {others}' if others else ''}: add some or remove the folder"
                )
            found += paths
        self._check_depth(named)
        return found

    def _image_paths(self, folder: Path) -> Iterator[str]:
        """Paths of the images in a folder and below it."""
        inner = []
        for entry in self._visible(folder):
            if entry.kind == "folder":
                identity = _identity(entry.path)
                if identity in self._walked or identity in self._above:
                    self._count("linked folders that are read already")
                else:
                    self._walked[identity] = Path(entry.path)
                    inner.append(Path(entry.path))
            elif entry.kind == "file" and self._suffix(entry) in self._suffixes:
                yield entry.path
            else:
                self._leave_out(entry, self._suffix(entry) or "without suffix")
        for path in inner:
            yield from self._image_paths(path)

    def _check_depth(self, named: Mapping[str, Path]) -> None:
        """Refuse images in some class folders beside folders of images in others."""
        flat = [path for path in named.values() if self._holds_images(path)]
        for path in named.values():
            inner = [name for name in self.folders(path) if self._holds_images(path / name)]
            if flat and path not in flat and len(inner) > 1:
                raise UserError(
                    f"{flat[0]} holds images, but {path} only folders of images, such as"
                    f" {_some(inner)}: put the class folders on one level, or those images into"
                    f" {path} itself"
                )

    def _holds_images(self, folder: Path) -> bool:
        return any(
            entry.kind != "folder" and self._suffix(entry) in self._suffixes
            for entry in self._visible(folder)
        )

    def _suffix(self, entry: _Entry) -> str:
        return os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - for millions of files

    def _leave_out(self, entry: _Entry, reason: str) -> None:
        self._count(reason if entry.kind == "file" else entry.kind)


def _identity(folder: Path | str) -> tuple[int, int]:
    """What two paths to the same folder share."""
    found = Path(folder).stat()
    return found.st_dev, found.st_ino


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _SYSTEM_NAMES


def _some(names: Sequence[str], shown: int = 3) -> str:
    """The first few of some names, and the number of the others."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _beside(others: Sequence[str]) -> str:
    return f" beside {_some(others)}" if others else ""


def _all_names() -> str:
    return ", ".join(name for names in SPLIT_NAMES.values() for name in names)
