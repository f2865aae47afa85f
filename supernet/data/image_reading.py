"""Image files: which are read, and their pixels as 8-bit RGB. No torch."""

import struct
from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image

from supernet.errors import UserError, one_line

FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of what is read. Others of its formats run programs, or hold no photographs."""
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)
"""Errors of Pillow over a file that is no image, or half of one."""


@cache
def _openable() -> tuple[str, ...]:
    """The formats by which a file is opened, whatever its suffix; JPEG's opens MPO as well."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@cache
def image_suffixes() -> Sequence[str]:
    """Suffixes of the files that are read, in small letters: those that Pillow can decode here."""
    return sorted(name for name, form in Image.registered_extensions().items() if form in FORMATS)


class CorruptImageError(UserError):
    """An image file that cannot be read, named by its path.

    A worker process hands an exception over as its type and a formatted traceback, and torch calls
    that type with the whole text; keeping what follows the name restores the one line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


def open_rgb(path: str) -> Image.Image:
    """An image of any kind as 8-bit RGB; alpha is dropped.

    Raises:
        CorruptImageError: if the file is no image, is damaged or has 32-bit pixels.
    """
    try:
        with Image.open(path, formats=_openable()) as image:
            if image.mode in {"I", "F"}:  # of unknown range: Pillow would clip it to 255 silently
                raise ValueError(f"32-bit pixels ({image.mode})")
            if image.mode.startswith("I;16"):
                return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
            if "transparency" in image.info:  # Pillow warns about a palette with alpha otherwise
                return image.convert("RGBA").convert("RGB")
            return image.convert("RGB")
    except _BROKEN as error:
        raise CorruptImageError(
            f"{path} cannot be read as an image, repair or remove it ({one_line(error)})"
        ) from error
