"""Kept images: decoded once, then read from the user's cache folder by their content. No torch.

They are as large as any crop of them needs, and lie under the hash of their file, so that a changed
file is decoded anew. Pixels are the same whether an image was found there or not. A kept image is
mapped into memory: of a large one no more is read than a crop shows.
"""

import hashlib
import math
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image

from supernet.data.images.image_reading import Choose, ImageReader, Part, Size
from supernet.data.images.index_cache import cache_folder
from supernet.errors import UserError
from supernet.files.writing import replacing

VERSION = 1
"""Raised whenever images are decoded or kept otherwise."""
_HEAD = 8
"""Numbers in float64 before the pixels: their height and width, and ``_Kept.whole``."""


class _Kept(NamedTuple):
    """A decoded image."""

    pixels: np.ndarray
    """(H, W, 3) in uint8."""
    whole: np.ndarray
    """Width and height of the stored image in px, and the box of it in these pixels, in float64."""

    def part(self, choose: Choose) -> Part:
        """What is wanted of the stored image, in these pixels."""
        width, height, left, top, right, bottom = self.whole.tolist()
        part = choose((round(width), round(height)))
        across, down = (right - left) / width, (bottom - top) / height
        x, y, end, below = part.box
        box = (left + x * across, top + y * down, left + end * across, top + below * down)
        return Part(box, part.size, part.enough)


class KeptReader:
    """A reader that decodes each image once.

    Args:
        reader: of the files.
        digests: hash of the content of each path.
        whole: of an image of some size, what all crops of it need: the whole at that size.
        kind: names ``whole``; images of other kinds are kept apart.
    """

    def __init__(
        self, reader: ImageReader, digests: Mapping[str, str], whole: Choose, kind: str
    ) -> None:
        self.reader, self.digests, self.whole = reader, digests, whole
        facts = repr((VERSION, PIL.__version__, reader, kind)).encode()
        name = hashlib.blake2b(facts, digest_size=8).hexdigest()
        self.folder = cache_folder() / "decoded" / name
        self._said = False

    def read_part(self, path: str, choose: Choose) -> tuple[Image.Image, Part]:
        """An image as RGB, and the part of it that was chosen; see ``ImageReader``."""
        kept = self._decoded(path)
        return Image.fromarray(kept.pixels), kept.part(choose)

    def read_crop(self, path: str, choose: Choose) -> tuple[np.ndarray, Part]:
        """Pixels (H, W, 3) around a chosen part, and that part of them; see ``ImageReader``."""
        kept = self._decoded(path)
        part = kept.part(choose)
        left, top, right, bottom = part.outer
        return np.array(kept.pixels[top:bottom, left:right]), part.within

    def missing_bytes(self, sizes: Mapping[str, Size]) -> int:
        """Bytes of the images of these paths and sizes that are not kept yet."""
        missing = 0
        for path, (width, height) in sizes.items():
            if not self._file(path).exists():
                divisor = self.whole((width, height)).draft
                missing += 3 * -(-width // divisor) * -(-height // divisor)
        return missing

    def _file(self, path: str) -> Path:
        return self.folder / f"{self.digests[path]}.rgb"

    def _decoded(self, path: str) -> _Kept:
        """A decoded image, kept from now on."""
        file = self._file(path)
        try:
            head = np.fromfile(file, np.float64, _HEAD)
            shape = (int(head[0]), int(head[1]), 3)
            if 0 < math.prod(shape) == file.stat().st_size - head.nbytes:
                pixels = np.memmap(file, np.uint8, "r", head.nbytes, shape)
                return _Kept(pixels, head[2:])
        except (OSError, ValueError, IndexError, OverflowError):
            pass  # not yet kept, or damaged
        size: list[Size] = []

        def choose(stored: Size) -> Part:
            size.append(stored)
            return self.whole(stored)

        image, part = self.reader.read_part(path, choose)
        kept = _Kept(np.array(image), np.array((*size[0], *part.box), np.float64))
        self._keep(file, kept)
        return kept

    def _keep(self, file: Path, kept: _Kept) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as stream:
                height, width, _ = kept.pixels.shape
                stream.write(np.array((height, width, *kept.whole), np.float64).tobytes())
                stream.write(kept.pixels.tobytes())
        except (OSError, UserError) as error:
            if not self._said:
                sys.stderr.write(f"note: decoded images are no longer kept ({error})\n")
            self._said = True


def check_room(missing_bytes: int) -> str:
    """A line about what will be kept.

    Raises:
        UserError: where the disk does not hold it.
    """
    folder = cache_folder() / "decoded"
    disk = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(disk).free
    if missing_bytes > free:
        raise UserError(
            f"data.cache is true, but the decoded images take {_gigabytes(missing_bytes)} more, and"
            f" {folder} has {_gigabytes(free)} free: leave it out, or name a larger disk by"
            " MNASNET_CACHE"
        )
    return f"decoded images kept in {folder}, {_gigabytes(missing_bytes)} more"


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:,.2f} GB"
