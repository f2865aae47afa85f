"""Characters as pictures, to train a network on before it sees icons, from fonts that are here.

matplotlib brings the fonts (DejaVu, free to use): arrows, shapes, symbols, dingbats and ASCII in
every cut that has them, black on transparent, with a folder for each of these kinds.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

BLOCKS = {
    "ascii": (0x21, 0x7E),
    "arrows": (0x2190, 0x21FF),
    "shapes": (0x25A0, 0x25FF),
    "symbols": (0x2600, 0x26FF),
    "dingbats": (0x2701, 0x27BE),
}
"""First and last code of the kinds."""
CUTS = 6
"""Cuts of the fonts that must have a character, each of which is a picture."""
SIDE = 48
"""Side of a picture, px."""


def find_fonts() -> list[Path]:
    """DejaVu's cuts for text, by name."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return [path for path in sorted(folder.glob("DejaVu*.ttf")) if "Display" not in path.stem]


def find_characters(fonts: list[Path], first: int, last: int) -> dict[str, list[Path]]:
    """The fonts of each character from one code to another that ``CUTS`` of them have."""
    maps = {path: FT2Font(str(path)).get_charmap() for path in fonts}
    codes = range(first, last + 1)
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


def make_folder(folder: Path) -> None:
    """Write a picture of each character in each font, by kind."""
    for kind, (first, last) in BLOCKS.items():
        (folder / kind).mkdir(parents=True)
        for character, fonts in find_characters(find_fonts(), first, last).items():
            for font in fonts:
                picture = draw(character, font)
                picture.save(folder / kind / f"{ord(character):04X}-{font.stem}.png")
