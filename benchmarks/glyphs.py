"""Characters as pictures, to train a network on before it sees icons, from fonts that are here.

matplotlib brings the fonts (DejaVu, free to use): arrows, shapes, symbols, dingbats and ASCII in
every cut that has them, black on transparent, with a folder for each character.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

RANGES = ((0x21, 0x7E), (0x2190, 0x21FF), (0x25A0, 0x25FF), (0x2600, 0x26FF), (0x2701, 0x27BE))
"""First and last code of the blocks that are drawn."""
CUTS = 6
"""Cuts of the fonts that must have a character, each of which is a picture of its class."""
SIDE = 48
"""Side of a picture, px."""


def find_fonts() -> list[Path]:
    """DejaVu's cuts for text, by name."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return [path for path in sorted(folder.glob("DejaVu*.ttf")) if "Display" not in path.stem]


def find_characters(fonts: list[Path]) -> dict[str, list[Path]]:
    """The fonts of each character that ``CUTS`` of them have."""
    maps = {path: FT2Font(str(path)).get_charmap() for path in fonts}
    codes = chain.from_iterable(range(first, last + 1) for first, last in RANGES)
    found = {chr(code): [path for path in fonts if code in maps[path]] for code in codes}
    return {character: held for character, held in found.items() if len(held) >= CUTS}


def draw(character: str, font: Path) -> Image.Image:
    """A character that fills a square but for a margin."""
    outline = ImageFont.truetype(str(font), 4 * SIDE)
    left, top, right, bottom = outline.getbbox(character)
    side = max(right - left, bottom - top) * 9 / 8
    picture = Image.new("RGBA", (round(side), round(side)), (0, 0, 0, 0))
    place = ((side - left - right) / 2, (side - top - bottom) / 2)
    ImageDraw.Draw(picture).text(place, character, fill="black", font=outline)
    return picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def make_folder(folder: Path) -> int:
    """Write a picture of each character in each font, by character; the number of characters."""
    characters = find_characters(find_fonts())
    for character, fonts in characters.items():
        place = folder / f"U+{ord(character):04X}"
        place.mkdir(parents=True, exist_ok=True)
        for font in fonts:
            draw(character, font).save(place / f"{font.stem}.png")
    return len(characters)
