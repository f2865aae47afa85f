"""Layout of labelled images that lie in no folders: which split and which class each is of."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from supernet.data.images.folder_layout import SPLIT_NAMES, Layout
from supernet.data.images.image_index import printable
from supernet.errors import UserError, check_choice, one_line
from supernet.files.reading import short

NAMES_SHOWN = 10
"""Names that an error lists."""


@dataclass(frozen=True)
class LabelledPaths:
    """Images of one split with their labels, as they are stored."""

    name: str
    """What the container calls the split."""
    paths: Sequence[str]
    """Names of the images, unique within the container."""
    labels: Sequence[int | str | None]


def some(names: Iterable[object]) -> str:
    """The first few of some names, and the number of the others."""
    shown = [one_line(name)[:60] for name in names]
    more = f" and {len(shown) - NAMES_SHOWN:,} more" if len(shown) > NAMES_SHOWN else ""
    return ", ".join(shown[:NAMES_SHOWN]) + more


def choose_splits(root: str, held: Sequence[str], told: Mapping[str, str] | None) -> dict[str, str]:
    """The split that serves as ``train``, as ``val`` and as ``test``, by the names of those held.

    Args:
        root: of the data, in an error.
        held: names of all splits.
        told: what the user says; None goes by their usual names.

    Raises:
        UserError: naming what is missing or serves twice.
    """
    if told is not None:
        for split, name in told.items():
            check_choice("data.splits", split, tuple(SPLIT_NAMES))
            if name not in held:
                raise UserError(f"data.splits names {name!r}, but {root} has {some(held)}")
        chosen = dict(told)
    else:
        chosen = {}
        for name in held:
            for split, names in SPLIT_NAMES.items():
                if name.casefold() in names and chosen.setdefault(split, name) != name:
                    raise UserError(
                        f"{root} has the splits {chosen[split]} and {name}, which name one split:"
                        f""" say which, --data.splits '{{"train": "NAME", "{split}": "{name}"}}'"""
                    )
    if "train" not in chosen:
        raise UserError(
            f"{root} has {some(held)}, none of which is train: say which is,"
            f""" --data.splits '{{"train": "{held[0] if held else "NAME"}"}}'"""
        )
    return {split: chosen[split] for split in SPLIT_NAMES if split in chosen}


def told_layout(
    root: Path,
    images: Mapping[str, LabelledPaths],
    classes: Sequence[str] | None,
    left_out: Mapping[str, int],
) -> Layout:
    """Layout of images whose container tells their labels.

    Args:
        root: of the data.
        images: those of each split.
        classes: names of the classes, which labels are, or are numbers of. Without them, labels
            that are text are names, and numbers are their own.
        left_out: number of images that are not read, by the reason.

    Raises:
        UserError: naming the first image without a class, or a class without training images.
    """
    for held in images.values():
        _check_kind(root, held)
    labels = [label for held in images.values() for label in held.labels]
    names = _class_names(labels) if classes is None else list(classes)
    kind = type(labels[0]) if labels else int
    numbers: dict[object, int] = {
        name if kind is str else number: number for number, name in enumerate(names)
    }
    if len(names) < 2:
        raise UserError(f"{root} has {len(names)} class(es), at least 2 are needed: add images")
    files = {split: _files(root, held, numbers) for split, held in images.items()}
    held_labels = {label for _, label in files["train"]}
    if missing := [name for label, name in enumerate(names) if label not in held_labels]:
        raise UserError(
            f"the split {images['train'].name} of {root} has no image of class {some(missing)}: add"
            " some, or leave out the class and give numbers without a gap"
        )
    return Layout(root, tuple(names), files, dict(left_out))


def _class_names(labels: Sequence[int | str | None]) -> list[str]:
    """Names of the classes that labels tell: themselves, or all numbers up to the largest."""
    numbers = [label for label in labels if isinstance(label, int)]
    if not numbers:
        return sorted({str(label) for label in labels})
    # Of more than there are labels, one is of no image: that is refused as such.
    return [str(number) for number in range(min(max(numbers), len(labels)) + 1)]


def _check_kind(root: Path, held: LabelledPaths) -> None:
    """Refuse images without labels, and labels of several kinds."""
    kinds = Counter(map(type, held.labels))
    if kinds[type(None)]:
        first = next(p for p, label in zip(held.paths, held.labels, strict=True) if label is None)
        raise UserError(
            f"{kinds[type(None)]:,} of {len(held.labels):,} images of {root} have no label, such as"
            f" {printable(first)}: give each its class, or leave them out"
        )
    if len(kinds) > 1 or not set(kinds) <= {int, str}:
        raise UserError(
            f"the labels of {root} in {held.name} are of the type"
            f" {some(kind.__name__ for kind in kinds)}, they must be whole numbers or names of"
            " classes: name another place of the labels"
        )


def _files(root: Path, held: LabelledPaths, numbers: Mapping[object, int]) -> list[tuple[str, int]]:
    files = []
    allowed = f"0 to {len(numbers) - 1}" if 0 in numbers else some(numbers)
    for path, label in zip(held.paths, held.labels, strict=True):
        if label not in numbers:
            raise UserError(
                f"{printable(path)} of {root} has the label {short(label)}, but those of classes"
                f" are {allowed}: correct it, leave the image out, or give other splits by"
                " --data.splits"
            )
        files.append((f"{root}/{path}", numbers[label]))
    return files
