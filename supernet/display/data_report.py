"""Report on a folder of images: what a run would find in it, and what is wrong with it.

Every image is read once by all cores, as a run does before it begins.
"""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, median
from typing import Any

from rich.table import Table

from supernet.command.output import new_table, print_json, print_table
from supernet.data.folder_images import FolderImages
from supernet.data.image_folder import ImageFolder
from supernet.data.images.image_index import IndexedImage, index_images, printable, relative_to
from supernet.display.augmented_page import augmentation_of, draw_augmented
from supernet.display.figures import save_figure
from supernet.display.sample_page import Sample, draw_samples
from supernet.errors import UserError

SPLITS = ("weights", "reward", "val", "test")
ROWS = 30
"""Classes that the table shows; of more, half are the largest and half the smallest."""
PAGES = {"page": "samples", "augmented_page": "augmented samples"}
"""What the pages show, by their names in the JSON object."""
ENDS = ("darkest", "brightest")
SETTINGS = (
    "split_seed",
    "val_share",
    "test_share",
    "reward_share",
    "background",
    "white_16_bit",
    "resolution",
)
"""Options of the command that are ImageFolder's."""


def check_data(options: argparse.Namespace) -> None:
    """Print what a folder holds, draw pages of samples, and end with what is wrong.

    Raises:
        UserError: when images cannot be read or a run could not begin, after all else is printed.
    """
    wanted, settings = None, dict[str, Any]()
    if options.augmentation:
        wanted, settings = augmentation_of(options.augmentation, Path(options.folder))
    given = {name: getattr(options, name) for name in SETTINGS}
    settings |= {name: value for name, value in given.items() if value is not None}
    report = DataReport.read(ImageFolder(options.folder, on_bad_image="skip", **settings))
    page = options.page or Path(f"{report.root.resolve().name or 'data'}-samples.png")
    if samples := report.samples():
        save_figure(draw_samples(samples, report.data.reader, report.head()), page)
    pages = {"page": page} if samples else {}
    if wanted and report.found:
        pages["augmented_page"] = page.with_stem(f"{page.stem.removesuffix('-samples')}-augmented")
        save_figure(draw_augmented(report.data, wanted), pages["augmented_page"])
    if options.json:
        print_json({**report.values(), "page": None, **{k: str(v) for k, v in pages.items()}})
    else:
        report.print()
        sys.stdout.write("".join(f"{PAGES[name]}: {path}\n" for name, path in pages.items()))
    if problem := report.problem():
        raise UserError(problem)


@dataclass(frozen=True)
class DataReport:
    """Facts of a folder of images."""

    data: ImageFolder
    index: Sequence[IndexedImage]
    """What each file was found to be, in the order of the layout."""
    labels: Sequence[int]
    """Class of each."""
    found: FolderImages | None
    """The images as they are dealt to splits, None where they are too few for it."""
    too_few: str
    """Why they cannot be dealt."""

    @classmethod
    def read(cls, data: ImageFolder) -> "DataReport":
        """Read every image of a folder."""
        layout = data.layout
        files = [file for held in layout.files.values() for file in held]
        paths = [relative_to(path, layout.root) for path, _ in files]
        index = index_images(layout.root, paths, data.reader)
        found, too_few = None, ""
        try:
            found = data.found
        except UserError as error:
            too_few = str(error)
        return cls(data, index, [label for _, label in files], found, too_few)

    @property
    def root(self) -> Path:
        """The folder."""
        return self.data.layout.root

    @cached_property
    def good(self) -> list[IndexedImage]:
        """Images that can be read."""
        return [image for image in self.index if not image.error]

    @cached_property
    def bad(self) -> list[IndexedImage]:
        """Files that cannot be read."""
        return [image for image in self.index if image.error]

    @cached_property
    def classes(self) -> list[dict[str, Any]]:
        """Name, number of images, of bad ones and of each split, and brightness of each class."""
        held: list[list[IndexedImage]] = [[] for _ in self.data.classes]
        for image, label in zip(self.index, self.labels, strict=True):
            held[label].append(image)
        rows = []
        for label, (name, images) in enumerate(zip(self.data.classes, held, strict=True)):
            good = [image.brightness for image in images if not image.error]
            row = {"name": name, "images": len(images), "bad": len(images) - len(good)}
            splits = {split: count[label] for split, count in self._split_labels.items()}
            rows.append({**row, **splits, "brightness": fmean(good) if good else None})
        return rows

    @cached_property
    def _split_labels(self) -> dict[str, Counter[int]]:
        """Number of images of each class in each split."""
        records = self.found.dealt.records if self.found else {}
        return {s: Counter(record.label for record in records.get(s, ())) for s in SPLITS}

    def samples(self, classes: int = 12, each: int = 8) -> list[Sample]:
        """Some images of some classes: the first by their content, which is as good as chance."""
        shown = sorted({round(i * (len(self.classes) - 1) / (classes - 1)) for i in range(classes)})
        by_content = sorted(zip(self.index, self.labels, strict=True), key=lambda i: i[0].digest)
        taken = [
            (self.classes[label]["name"], [one for one, its in by_content if its == label])
            for label in shown
        ]
        return [
            Sample(name, [self.root / one.path for one in images if not one.error][:each])
            for name, images in taken
            if any(not one.error for one in images)
        ]

    @cached_property
    def copies(self) -> list[list[str]]:
        """Paths of the images that have the same bytes, for each content that lies there twice."""
        paths = defaultdict[str, list[str]](list)
        for image in self.good:
            paths[image.digest].append(image.path)
        return [same for same in paths.values() if len(same) > 1]

    def values(self) -> dict[str, Any]:
        """All numbers, for programs."""
        sizes = sorted((one.width * one.height, one.width, one.height) for one in self.good)
        light = sorted((one.brightness, one.path) for one in self.good)
        counts = [row["images"] for row in self.classes]
        largest = max(self.classes, key=lambda row: row["images"])
        dealt = self.found.dealt if self.found else None
        return {
            "folder": str(self.root),
            "images": len(self.index),
            "bytes": sum(image.num_bytes for image in self.index),
            "ignored": self.data.layout.left_out,
            "classes": self.classes,
            "majority_class": largest["name"],
            "majority_share": {
                "all": largest["images"] / len(self.index),
                **{s: max(n.values()) / n.total() for s, n in self._split_labels.items() if n},
            },
            "imbalance": max(counts) / min(counts),
            "smallest_px": sizes[0][1:] if sizes else None,
            "largest_px": sizes[-1][1:] if sizes else None,
            "median_shorter_side_px": median(min(one[1:]) for one in sizes) if sizes else None,
            "brightness": fmean(value for value, _ in light) if light else None,
            "darkest": light[0] if light else None,
            "brightest": light[-1] if light else None,
            "one_colour": [image.path for image in self.good if image.contrast == 0],
            "several_frames": sum(image.num_frames > 1 for image in self.good),
            "copies": self.copies,
            "copies_of_another_class": dealt.num_relabelled if dealt else None,
            "copies_left_out": len(dealt.left_out) if dealt else None,
            "bad": {image.path: image.error for image in self.bad},
            "too_few": self.too_few or None,
        }

    def problem(self) -> str:
        """Why a run could not begin, in one line; nothing if it could."""
        if not self.bad:
            return self.too_few
        others = ", or train without them by --data.on_bad_image skip"
        if self.too_few:
            others = f"; without them, {self.too_few}" if self.good else ""
        return (
            f"{len(self.bad):,} of {len(self.index):,} images cannot be read: repair or remove"
            f" them{others}"
        )

    def head(self) -> str:
        """The folder and how much it holds."""
        size = sum(image.num_bytes for image in self.index) / 1e6
        counts = f"{len(self.classes):,} classes, {len(self.index):,} images, {size:,.1f} MB"
        line = f"{self.root}: {counts}"
        return "; ".join(part for part in (line, self.data.layout.left_out_line) if part)

    def print(self) -> None:
        """Print tables and lines for a person."""
        sys.stdout.write(f"{self.head()}\n")
        print_table(self._table())
        sys.stdout.write("".join(f"{line}\n" for line in self._lines()))

    def _table(self) -> Table:
        rows = sorted(self.classes, key=lambda row: -row["images"])
        half = ROWS // 2
        shown = rows if len(rows) <= ROWS else [*rows[:half], {"name": "..."}, *rows[-half:]]
        columns = ["images", "bad", *(SPLITS if self.found else ()), "brightness"]
        table = new_table("class", *columns, left=["class"])
        for row in shown:
            cells = [row.get(column, "") for column in columns]
            table.add_row(
                row["name"],
                *(
                    "" if c is None else f"{c:.2f}" if isinstance(c, float) else str(c)
                    for c in cells
                ),
            )
        return table

    def _lines(self) -> Iterator[str]:
        values = self.values()
        shares = ", ".join(
            f"{name} {100 * v:.1f} %" for name, v in values["majority_share"].items()
        )
        yield (
            f"majority: who always says {values['majority_class']} is right for {shares}; the"
            f" largest class has {values['imbalance']:.1f} times the images of the smallest"
        )
        if self.good:
            small, large = (f"{w}x{h}" for w, h in (values["smallest_px"], values["largest_px"]))
            ends = small if small == large else f"{small} to {large}"
            yield (
                f"sizes: {ends} px, median of the shorter sides"
                f" {values['median_shorter_side_px']:g} px"
            )
            ends = ", ".join(
                f"{name} {values[name][0]:.2f} ({printable(values[name][1])})" for name in ENDS
            )
            yield f"brightness: {values['brightness']:.2f} of 1, {ends}"
        yield from _counted("of one colour", values["one_colour"])
        if values["several_frames"]:
            yield f"{values['several_frames']:,} of several frames, of which the first is read"
        yield from _counted("with copies", [" = ".join(same) for same in self.copies])
        yield from (self.found.dealt.notes(self.data.classes) if self.found else [])
        if self.bad:
            yield f"{len(self.bad):,} cannot be read:"
        yield from (f"  {printable(image.path)}: {image.error}" for image in self.bad)


def _counted(what: str, names: Sequence[str], shown: int = 3) -> Iterator[str]:
    """The number of some images and the first of them, where there are any."""
    if names:
        more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
        yield f"{len(names):,} {what}: {', '.join(map(printable, names[:shown]))}{more}"
