"""A real picture set without a download: icons of the themes that are installed here.

``python -m benchmarks.icons FOLDER`` writes ``train``, ``val`` and ``test`` with a folder for each
kind of the freedesktop Icon Naming Specification (actions, devices ...), for ``ImageFolder`` to
read. Of each icon of each theme it takes the largest picture of 48 to 160 px and writes it as
png, webp, jpg or gif, in turn. All pictures of one name, of any theme, direction or level
(``battery-level-10``, ``-20`` ...), stand in one split, and equal pictures are taken once. Nothing
of it may be committed: themes have licences of their own.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from supernet.command.output import say
from supernet.command.process import run_command
from supernet.errors import UserError

KINDS = (
    *("actions", "animations", "apps", "categories", "devices", "emblems"),
    *("emotes", "international", "mimetypes", "places", "status"),
)
"""Contexts of the specification, which are the classes."""
PACKAGES = {
    "Adwaita": "adwaita-icon-theme",
    "gnome": "gnome-icon-theme",
    "mate": "mate-icon-theme",
    "oxygen": "oxygen-icon-theme",
    "Tango": "tango-icon-theme",
}
"""Themes of hundreds of pictures by kind, and the packages that hold them."""
SIDES = range(48, 161)
"""Sides of pictures that are taken, px."""
LEAST = 12
"""Names of a kind below which it is left out."""
SHARES = {"test": 0.3, "val": 0.1}
"""Shares of the names of a kind; the rest is to train on."""
FORMATS = ("png", "webp", "jpg", "gif")


class Icon(NamedTuple):
    """A picture of a theme."""

    theme: str
    kind: str
    name: str
    side: int
    path: Path

    @property
    def group(self) -> str:
        """What its near-duplicates share: its name, without style, direction and level."""
        return re.sub(r"\d+", "", re.sub(r"[-.](symbolic|rtl|ltr)\b", "", self.name))


def find_icons(root: Path) -> list[Icon]:
    """The largest picture in ``SIDES`` of each icon below ``root``, sorted."""
    best: dict[tuple[str, str, str], Icon] = {}
    for path in sorted(root.glob("*/**/*.png")):
        side, _, other = path.parts[-3].partition("x")
        if side != other or not side.isdecimal() or int(side) not in SIDES:
            continue
        theme, kind = path.relative_to(root).parts[0], path.parts[-2]
        icon = Icon(theme, kind, path.stem, int(side), path)
        known = best.get(icon[:3])
        if kind in KINDS and (known is None or known.side < icon.side):
            best[icon[:3]] = icon
    return sorted(best.values())


def read_icons(icons: Iterable[Icon]) -> dict[Icon, Image.Image]:
    """Pictures (RGBA) of icons, equal ones once; files that are none are passed over."""
    seen, read = set[bytes](), dict[Icon, Image.Image]()
    for icon in icons:
        try:
            with Image.open(icon.path) as file:
                picture = file.convert("RGBA")
        except (OSError, UnidentifiedImageError):
            continue
        digest = hashlib.sha256(picture.tobytes()).digest()
        if digest not in seen:
            seen.add(digest)
            read[icon] = picture
    return read


def deal(icons: Iterable[Icon], seed: int) -> dict[Icon, str]:
    """The split of each icon, alike for those of one group; small kinds are left out.

    A group that several kinds hold is dealt with the first of them.
    """
    split: dict[str, str] = {}
    dealt: dict[Icon, str] = {}
    for kind, members in groupby(sorted(icons, key=lambda icon: icon.kind), lambda one: one.kind):
        held = list(members)
        groups = sorted({icon.group for icon in held})
        if len(groups) < LEAST:
            say(f"{kind} is left out: it has {len(groups)} name(s), fewer than {LEAST}")
            continue
        fresh = [name for name in groups if name not in split]
        fresh.sort(key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
        split |= dict(zip(fresh, _places(len(fresh)), strict=True))
        dealt |= {icon: split[icon.group] for icon in held}
    return dealt


def _places(number: int) -> list[str]:
    """The splits of so many names, by ``SHARES``."""
    held = [name for name, share in SHARES.items() for _ in range(round(share * number))]
    return [*held, *["train"] * (number - len(held))]


def write_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture as its suffix says; jpg and gif have no transparency."""
    if path.suffix in (".jpg", ".gif"):
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture).convert("RGB")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=95, lossless=path.suffix == ".webp")


def make_folder(folder: Path, root: Path, seed: int) -> None:
    """Write the picture set of the themes below ``root``, dealt by ``seed``.

    Raises:
        UserError: when the folder is there, or there are fewer than two kinds.
    """
    if folder.exists():
        raise UserError(f"{folder} is there already: remove it, or name another")
    pictures = read_icons(find_icons(root))
    dealt = deal(pictures, seed)
    kinds = sorted({icon.kind for icon in dealt})
    if len(kinds) < 2:
        raise UserError(
            f"{root} holds icons of {len(kinds)} kind(s): apt install {PACKAGES['Adwaita']}"
        )
    for number, (icon, split) in enumerate(sorted(dealt.items())):
        name = f"{icon.theme}-{icon.name}.{FORMATS[number % len(FORMATS)]}"
        write_picture(pictures[icon], folder / split / icon.kind / name)
    themes = sorted({icon.theme for icon in dealt})
    missing = [package for theme, package in PACKAGES.items() if theme not in themes]
    more = f"; apt install {' '.join(missing)} for more" if missing else ""
    say(f"{len(dealt):,} icons of {len(kinds)} kinds, of {', '.join(themes)}{more}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the picture set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--icons", type=Path, default=Path("/usr/share/icons"), help="of themes")
    parser.add_argument("--seed", type=int, default=0, help="of the splits")
    options = parser.parse_args(arguments)
    make_folder(options.folder, options.icons, options.seed)


if __name__ == "__main__":
    run_command(main)
