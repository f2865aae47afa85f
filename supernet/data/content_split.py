"""Splits by content: where an image belongs depends on a seed and its bytes, and on nothing else.

So no other image moves when some are added, renamed, relabelled or removed, and exact copies always
stand in one split. Shares that are exact for each class would need to know its other images.
"""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from supernet.data.records import ImageRecord
from supernet.errors import UserError

FIRST = ("test", "val", "train")
"""Folders of splits in the order in which they keep a content that several of them hold."""
REST = "weights"
"""The split of what no share takes."""


def split_of(seed: int, digest: str, shares: Mapping[str, float]) -> str:
    """The split of a content: a uniform number in [0, 1), hashed, against test, val and reward.

    Another share moves only what lies between the old and the new ends.
    """
    number, end = _number(f"{seed} {digest}"), 0.0
    for split in ("test", "val", "reward"):
        end += shares.get(split, 0.0)
        if number < end:
            return split
    return REST


@dataclass
class DealtImages:
    """Images dealt to splits, each content to one of them."""

    records: dict[str, list[ImageRecord]] = field(
        default_factory=lambda: {REST: [], "reward": [], "val": [], "test": []}
    )
    """Those of each split, in the order of their digests, which a new path does not change."""
    left_out: list[ImageRecord] = field(default_factory=list)
    """Images of the folders ``train`` and ``val`` that have a copy in ``val`` or ``test``."""
    num_copies: int = 0
    """Images whose bytes an image before them has, in any folder."""
    num_relabelled: int = 0
    """Copies that have another label than the first."""
    num_new: int = 0
    """Images that a run which goes on did not have, and which are left out."""

    def notes(self, classes: Sequence[str]) -> list[str]:
        """What a user should know of the dealing, such as ``3 exact copies``."""
        notes = []
        if self.num_copies:
            other = f", {self.num_relabelled:,} of another class" if self.num_relabelled else ""
            notes.append(f"{self.num_copies:,} exact copies{other}")
        if self.left_out:
            notes.append(f"{len(self.left_out):,} left out, since val or test has their copy")
        if self.num_new:
            notes.append(f"{self.num_new:,} new left out, as the run goes on with those it had")
        for split, records in self.records.items():
            held = {record.label for record in records}
            if missing := [name for label, name in enumerate(classes) if label not in held]:
                more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
                notes.append(f"no {split} image of {', '.join(missing[:3])}{more}")
        return notes


def deal_images(
    files: Mapping[str, Sequence[tuple[str, int]]],
    digests: Mapping[str, str],
    shares: Mapping[str, float],
    seed: int,
) -> DealtImages:
    """Deal the images of a folder ``train``; those of ``val`` and ``test`` stay where they are.

    Args:
        files: paths and labels of the images in the folder of each split that has one.
        digests: hash of the content of each path; paths that it lacks are passed over.
        shares: of ``train``, for reward and for the splits without a folder.
        seed: of the dealing; another one gives other splits.
    """
    dealt = DealtImages()
    first: dict[str, tuple[str, int]] = {}  # folder and label of the first image of a content
    for folder in FIRST:
        for path, label in files.get(folder, ()):
            if (digest := digests.get(path)) is None:
                continue
            dealt.num_copies += digest in first
            kept_in, kept_label = first.setdefault(digest, (folder, label))
            dealt.num_relabelled += kept_label != label
            if kept_in != folder:
                dealt.left_out.append(ImageRecord(path, label, "copy", digest))
                continue
            split = split_of(seed, digest, shares) if folder == "train" else folder
            dealt.records[split].append(ImageRecord(path, label, split, digest))
    for records in dealt.records.values():
        records.sort(key=order)
    return dealt


def fill_gaps(
    dealt: DealtImages, shares: Mapping[str, float], seed: int, classes: Sequence[str]
) -> None:
    """Give an image that can be spared to a class without training images, and to an empty split.

    Only data of few images have such gaps, and only there can an added image move another one.

    Raises:
        UserError: naming a class or split for which none can be spared.
    """
    records = dealt.records
    for label, name in enumerate(classes):
        if all(record.label != label for record in records[REST]):
            spared = [one for split in shares for one in records[split] if one.label == label]
            _move(records, spared, REST, seed, f"class {name}, which needs one to train on")
    for split in records:
        if not records[split]:
            held = {s: {r.digest: r.label for r in records[s]} for s in (*shares, REST)}
            number = Counter(held[REST].values())
            spared = [one for one in records[REST] if number[one.label] > 1]
            spared = spared or [one for s in shares for one in records[s] if len(held[s]) > 1]
            needing = f"the split {split}, which needs one"
            _move(records, spared if split in shares else [], split, seed, needing)


def _move(
    records: dict[str, list[ImageRecord]],
    spared: Sequence[ImageRecord],
    to: str,
    seed: int,
    needing: str,
) -> None:
    """Move the image among some, with its copies, that the seed names for a split."""
    if not spared:
        every = {record.digest for held in records.values() for record in held}
        raise UserError(
            f"{len(every):,} different images are too few: none can be spared for {needing}: add"
            " images, or remove classes that have one or two"
        )
    chosen = min(spared, key=lambda one: _number(f"{seed} {to} {one.digest}"))
    moved = [one for one in records[chosen.split] if one.digest == chosen.digest]
    records[chosen.split] = [one for one in records[chosen.split] if one not in moved]
    records[to] += [dataclasses.replace(one, split=to) for one in moved]
    records[to].sort(key=order)


def order(record: ImageRecord) -> tuple[str, str]:
    """What the images of a split are sorted by: a new name moves none but copies."""
    return record.digest, record.path


def _number(text: str) -> float:
    """A uniform number in [0, 1) that is a function of a text."""
    hashed = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(hashed) / 2**64
