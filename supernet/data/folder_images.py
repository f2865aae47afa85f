"""Images of a folder: each read once before a run begins, dealt to splits, the bad ones told.

What cannot be read is refused, all of it at once, or skipped. A run that goes on keeps the images
that it began with: new ones are left out, and where one of its training has gone, another stands in
its place, so that all others keep theirs.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from supernet.data.content_split import REST, DealtImages, deal_images, fill_gaps, order
from supernet.data.images.folder_layout import Layout
from supernet.data.images.image_index import IndexedImage, index_images, printable, relative_to
from supernet.data.images.image_reading import ImageReader
from supernet.data.records import ImageRecord
from supernet.errors import UserError

OnBadImage = Literal["error", "skip"]
SHOWN = 20
"""Bad images that one line names."""


@dataclass(frozen=True)
class FolderImages:
    """Images of a folder, dealt to splits."""

    root: Path
    classes: Sequence[str]
    dealt: DealtImages
    bad: Sequence[IndexedImage]
    """Files that cannot be read, and are skipped."""
    num_indexed: int
    """Number of all images, bad ones included."""
    sizes: str
    """Widths and heights in px, from the smallest area to the largest: ``24x18 to 4000x3000``."""
    num_frames: int
    """Files of several frames or pages, of which the first is read."""
    reader: ImageReader

    def files(self, *splits: str) -> list[tuple[str, int]]:
        """Paths and labels of these splits together."""
        return [(path, record.label) for path, record in self._located(splits)]

    def digests(self, *splits: str) -> dict[str, str]:
        """Hash of the content of each path of these splits."""
        return {path: record.digest for path, record in self._located(splits)}

    def pixel_sizes(self, *splits: str) -> dict[str, tuple[int, int]]:
        """Width and height of each path of these splits, as the index has found them."""
        located = self._located(splits)
        index = index_images(self.root, [record.path for _, record in located], self.reader)
        return {
            path: (image.width, image.height)
            for (path, _), image in zip(located, index, strict=True)
            if not image.error
        }

    def _located(self, splits: Sequence[str]) -> list[tuple[str, ImageRecord]]:
        """Paths, with the root, and records of these splits together."""
        start = f"{self.root / '_'}"[:-1]
        return [(start + one.path, one) for split in splits for one in self.dealt.records[split]]

    def records(self) -> list[ImageRecord]:
        """Every image of the folder, also those that are not used."""
        used = [record for records in self.dealt.records.values() for record in records]
        paths = {record.path for record in used}
        bad = [ImageRecord(one.path, -1, "skipped", one.digest) for one in self.bad]
        return used + self.dealt.left_out + [one for one in bad if one.path not in paths]

    def notes(self) -> list[str]:
        """What a user should know of them, such as ``3 exact copies``."""
        skipped = [f"{bad_images_line(self.bad, self.num_indexed)}: skipped"] if self.bad else []
        frames = [f"{self.num_frames:,} of several frames, of which the first is read"]
        return (frames if self.num_frames else []) + self.dealt.notes(self.classes) + skipped


def read_images(
    layout: Layout,
    reader: ImageReader,
    shares: Mapping[str, float],
    seed: int,
    on_bad_image: OnBadImage = "error",
    before: Sequence[ImageRecord] = (),
) -> FolderImages:
    """Read every image of a folder once and deal them to splits by their content.

    Args:
        layout: of the folder.
        reader: what can be read.
        shares: of ``train``, for reward and for the splits without a folder.
        seed: of the dealing.
        on_bad_image: whether to refuse or to skip what cannot be read.
        before: records of a run that goes on, none of one that begins.

    Raises:
        UserError: naming the bad images, or a split or class that gets no image.
    """
    files = {
        split: [(relative_to(path, layout.root), label) for path, label in held]
        for split, held in layout.files.items()
    }
    paths = [path for held in files.values() for path, _ in held]
    index = index_images(layout.root, paths, reader)
    bad = [image for image in index if image.error]
    _refuse_bad(bad, len(index), on_bad_image)
    digests = {image.path: image.digest for image in index if not image.error}
    dealt = deal_images(files, digests, shares, seed)
    fill_gaps(dealt, shares, seed, layout.classes)
    if before:
        lost = keep_images(dealt, before)
        known = {image.path for image in bad}
        missing = [IndexedImage(p, 0, "", error="missing") for p in lost if p not in known]
        _refuse_bad(missing, len(before), on_bad_image)
        bad += missing
    good = [image for image in index if not image.error]
    return FolderImages(
        layout.root,
        layout.classes,
        dealt,
        bad,
        num_indexed=len(index),
        sizes=_sizes(good),
        num_frames=sum(image.num_frames > 1 for image in good),
        reader=reader,
    )


def _sizes(images: Sequence[IndexedImage]) -> str:
    """The smallest and the largest size of some images."""
    sizes = sorted({(image.width * image.height, image.width, image.height) for image in images})
    ends = [f"{width}x{height}" for _, width, height in (*sizes[:1], *sizes[1:][-1:])]
    return " to ".join(ends)


def keep_images(dealt: DealtImages, before: Sequence[ImageRecord]) -> list[str]:
    """Make dealt images those of a run that goes on; the paths of those that it has lost.

    By content, whatever the path: each is in the split where it was, new ones are left out, and in
    training, lost ones keep their place, as the order of all others depends on the number.
    """
    found = defaultdict[str, list[ImageRecord]](list)
    for record in chain(*dealt.records.values()):
        found[record.digest].append(record)
    lost: list[str] = []
    records: dict[str, list[ImageRecord]] = {split: [] for split in dealt.records}
    for record in before:
        if record.split not in records:
            continue
        if same := found[record.digest]:
            now = next((one for one in same if one.path == record.path), same[0])
            same.remove(now)
            records[record.split].append(dataclasses.replace(now, split=record.split))
        else:
            lost.append(record.path)
            records[record.split] += [record] if record.split in {REST, "reward"} else []
    dealt.num_new = sum(map(len, found.values()))
    dealt.records = {split: sorted(held, key=order) for split, held in records.items()}
    return lost


def bad_images_line(bad: Sequence[IndexedImage], number: int) -> str:
    """Names of images that cannot be read, of ``number`` in all, each with the reason."""
    named = ", ".join(f"{printable(image.path)} ({image.error})" for image in bad[:SHOWN])
    more = f" and {len(bad) - SHOWN:,} more" if len(bad) > SHOWN else ""
    return f"{len(bad):,} of {number:,} images cannot be read: {named}{more}"


def _refuse_bad(bad: Sequence[IndexedImage], number: int, on_bad_image: OnBadImage) -> None:
    if bad and on_bad_image == "error":
        others = ", or go on without them: --data.on_bad_image skip" if len(bad) < number else ""
        raise UserError(f"{bad_images_line(bad, number)}; repair them{others}")
