"""Image files: which are read, and their pixels as 8-bit RGB. No torch.

Pixels are what a viewer shows: turned as the EXIF data say, on a background where they are
transparent, the first frame where there are several. 16-bit pixels are scaled by the value of
white, which their file tells or the user; where it is unknown and the upper bits are unused, the
image is refused, as it would be nearly black.

A JPEG file of which a small image is made is decoded at an eighth to half of its size, which its
coefficients allow (libjpeg's scaled transform), if that is still large enough for what is wanted.
Whole ones are decoded by simplejpeg where it is installed: the same pixels, to the last bit, packed
as a tensor has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageOps
from PIL.ExifTags import Base
from PIL.JpegImagePlugin import JpegImageFile

from supernet.errors import UserError, check_range, one_line

FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of what is read. Others of its formats run programs, or hold no photographs."""
WHITE_16_BIT = 2**16 - 1
Size = tuple[int, int]
"""Width and height in px, of an image as it is read: turned as its EXIF orientation says."""
Box = tuple[float, float, float, float]
"""Left, upper, right and lower edge in px."""
ENOUGH, PLENTY = 2.0, 4.0
"""Sizes at which an image is decoded at least, over the size that is made of it: for training, and
where it is measured what a network is worth (docs/performance.md has what each changes)."""
_TURNED, _FROM_RIGHT, _FROM_BOTTOM = {5, 6, 7, 8}, {2, 3, 6, 7}, {3, 4, 7, 8}
"""EXIF orientations that exchange width and height, and those whose left and upper edge are a right
or lower edge of what is stored."""
_CAMERA_BITS = range(9, 15)
"""Bits of the pixels that cameras store in 16 bits as they are."""
_MAX_SAMPLE_VALUE = 281
"""TIFF's tag of the largest value that a pixel can have."""


@cache
def _openable() -> tuple[str, ...]:
    """The formats by which a file is opened, whatever its suffix; JPEG's opens MPO as well."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@cache
def image_suffixes() -> Sequence[str]:
    """Suffixes of the files that are read, in small letters: those that Pillow can decode here."""
    return sorted(name for name, form in Image.registered_extensions().items() if form in FORMATS)


@dataclass(frozen=True)
class Part:
    """A part of an image, and the size at which it is wanted."""

    box: Box
    size: Size
    """Width and height in px."""
    enough: float = ENOUGH
    """Times this size at which it is decoded, at least."""

    @property
    def draft(self) -> int:
        """By what its sides may be divided, 8 at most, to be as large as is enough."""
        left, top, right, bottom = self.box
        width, height = self.size
        most = min((right - left) / width, (bottom - top) / height) / self.enough
        return next((divisor for divisor in (8, 4, 2) if divisor <= most), 1)

    @property
    def outer(self) -> tuple[int, int, int, int]:
        """The smallest box of whole pixels around it."""
        left, top, right, bottom = self.box
        return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)

    @property
    def within(self) -> Part:
        """The same part of what that box shows."""
        x, y, *_ = self.outer
        left, top, right, bottom = self.box
        return replace(self, box=(left - x, top - y, right - x, bottom - y))

    def of(self, image: Image.Image, resample: Image.Resampling) -> Image.Image:
        """This part of an image at its size; nothing beyond it shows."""
        if self.outer != (0, 0, *image.size):
            image = image.crop(self.outer)
        return image.resize(self.size, resample, box=self.within.box)


Choose = Callable[[Size], Part]
"""What is wanted of an image of some size."""


class CorruptImageError(UserError):
    """An image file that cannot be read, named by its path.

    A worker process hands an exception over as its type and a formatted traceback, and torch calls
    that type with the whole text; keeping what follows the name restores the one line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class ImageStore(Protocol):
    """What holds encoded images that are no files, such as rows of a table or members of archives.

    Each has a path of its own, below the root of all, as a file would.
    """

    def content(self, path: str) -> bytes:
        """Bytes of an image, as a file would have them.

        Raises:
            OSError: or ValueError, if they cannot be had.
        """
        ...

    def stamp(self, path: str) -> tuple[int, int, int, int]:
        """Size, inode and times of what holds it: an ``index_cache.Stamp``."""
        ...


class _Content(BytesIO):
    """Bytes of a stored image, which Pillow calls by its path where it complains of a file."""

    def __init__(self, path: str, content: bytes) -> None:
        super().__init__(content)
        self._path = path

    def __repr__(self) -> str:
        return repr(self._path)


class _PixelsError(ValueError):
    """Pixels whose meaning is open: the message says what to set."""


@dataclass(frozen=True)
class ImageReader:
    """How the pixels of an image file become 8-bit RGB.

    Raises:
        UserError: when a value is out of range.
    """

    background: tuple[int, int, int] = (255, 255, 255)
    """Colour under transparent pixels, each channel from 0 to 255."""
    white_16_bit: int | None = None
    """Value of white in 16-bit images; None takes it from the file, or 65535 where the upper bits
    are used."""
    store: ImageStore | None = field(default=None, repr=False, compare=False)
    """What holds the images, where they are no files; their pixels are the same."""

    def __post_init__(self) -> None:
        check_range("", self, "background", least=0, most=255)
        check_range("", self, "white_16_bit", least=255, most=WHITE_16_BIT)

    def read(self, path: str) -> Image.Image:
        """An image of any kind and size as RGB.

        Raises:
            CorruptImageError: if the file is no image, is damaged, or does not tell the range of
                its pixels.
        """
        image, _ = self.read_part(path, lambda size: Part((0, 0, *size), size))
        return image

    def read_part(self, path: str, choose: Choose) -> tuple[Image.Image, Part]:
        """An image as RGB, perhaps smaller than it is stored, and the part of it that was chosen.

        Args:
            path: of the file.
            choose: what is wanted of an image of this size; it is asked once, before a JPEG file is
                decoded.

        Raises:
            CorruptImageError: as by ``read``.
        """
        image, part = self._read(path, choose, lambda image: None)
        assert isinstance(image, Image.Image)
        return image, part

    def read_crop(self, path: str, choose: Choose) -> tuple[np.ndarray, Part]:
        """Pixels (H, W, 3) in uint8 around a chosen part, and that part of them; see ``read_part``.

        Raises:
            CorruptImageError: as by ``read``.
        """
        image, part = self._read(path, choose, _packed)
        left, top, right, bottom = part.outer
        if isinstance(image, np.ndarray):
            return image[top:bottom, left:right], part.within
        return np.array(image.crop(part.outer)), part.within

    def _read(
        self, path: str, choose: Choose, pack: Callable[[JpegImageFile], np.ndarray | None]
    ) -> tuple[Image.Image | np.ndarray, Part]:
        """An image, or whole pixels (H, W, 3) that ``pack`` has of a file, and its chosen part."""
        try:
            with self._open(path) as image:
                if isinstance(image, JpegImageFile):
                    part = _drafted(image, choose)
                    packed = pack(image)
                    return (self._rgb(image) if packed is None else packed), part
                whole = self._rgb(image)
                return whole, choose(whole.size)
        except _PixelsError as error:
            raise CorruptImageError(f"{path}: {error}") from error
        except MemoryError:
            raise
        except Exception as error:  # a damaged file raises whatever Pillow meets
            raise CorruptImageError(
                f"{path} cannot be read as an image, repair or remove it"
                f" ({one_line(error) or type(error).__name__})"
            ) from error

    def num_frames(self, path: str) -> int:
        """1, or 2 for an image of at least that many frames or pages, of which the first is read.

        Raises:
            OSError: if the file is no image.
        """
        with self._open(path) as image:
            return 1 + getattr(image, "is_animated", False)

    def _open(self, path: str) -> Image.Image:
        source = _Content(path, self.store.content(path)) if self.store else path
        return Image.open(source, formats=_openable())

    def _rgb(self, image: Image.Image) -> Image.Image:
        stored = _Stored.of(image)
        # A large image is copied no more often than it must be.
        ImageOps.exif_transpose(image, in_place=True)
        turned = image
        if stored.is_grey_16_bit:
            turned = self._grey(turned, stored)
        elif turned.mode in {"I", "F"}:
            raise _PixelsError(
                f"32-bit pixels (mode {turned.mode}) of unknown range: store them in 8 or 16 bits"
            )
        elif stored.lacks_range:
            self._check_colours(turned)
        return self._on_background(turned)

    def _grey(self, image: Image.Image, stored: _Stored) -> Image.Image:
        """A 16-bit grey image in 8 bits, with alpha if one of its values is transparent."""
        values = np.asarray(image).astype(np.float32)
        white = stored.white or self.white_16_bit or stored.told_white
        largest = int(values.max())
        if not white and stored.lacks_range:
            _check_used_bits(largest)
        white = white or WHITE_16_BIT
        if largest > white:
            raise _PixelsError(
                f"a pixel has the value {largest}, where white is {white}: set"
                " --data.white_16_bit higher"
            )
        shown = Image.fromarray(np.rint(values * (255 / white)).astype(np.uint8))
        if stored.white_is_zero:
            shown = ImageOps.invert(shown)
        if "transparency" in image.info:
            alpha = np.where(values == image.info["transparency"], 0, 255)
            shown = Image.merge("LA", (shown, Image.fromarray(alpha.astype(np.uint8))))
        return shown

    def _check_colours(self, image: Image.Image) -> None:
        """Refuse 16-bit colours whose upper bits, all that Pillow keeps, are unused."""
        if self.white_16_bit == WHITE_16_BIT:
            return
        if self.white_16_bit:
            raise _PixelsError(
                f"of 16-bit colours only the upper 8 bits can be read, white is not"
                f" {self.white_16_bit}: store them in 8 bits"
            )
        _check_used_bits(256 * int(np.asarray(image)[..., :3].max()))

    def _on_background(self, image: Image.Image) -> Image.Image:
        """An 8-bit image as RGB, its transparent pixels on the background."""
        if not image.has_transparency_data:
            return image if image.mode == "RGB" else image.convert("RGB")
        whole = image.convert("RGBA")
        ground = Image.new("RGBA", whole.size, (*self.background, 255))
        shown = Image.alpha_composite(ground, whole).convert("RGB")
        alpha = np.asarray(whole)[..., 3]
        if alpha.min() < alpha.max() and shown.getcolors(1):
            raise _PixelsError(
                f"the shapes vanish on the background {list(self.background)}: set"
                " --data.background to another colour"
            )
        return shown


@dataclass(frozen=True)
class _Stored:
    """What a file says of its pixels, which Pillow forgets when it has read them."""

    is_grey_16_bit: bool
    lacks_range: bool
    """Whether pixels have 16 bits as they stand, of which fewer may be used."""
    white: int | None
    """Value of white, where the format fixes it."""
    told_white: int | None
    """Value of white that a tag of the file tells."""
    white_is_zero: bool

    @classmethod
    def of(cls, image: Image.Image) -> _Stored:
        """What the opened file says before its pixels are read."""
        tile, tags = getattr(image, "tile", None), getattr(image, "tag_v2", {})
        layout = str(tile[0].args) if tile else ""
        is_map = image.format == "PPM"
        raw = ";16" in layout or (is_map and str(WHITE_16_BIT) in layout)
        is_grey = image.mode.startswith("I;16") or (is_map and image.mode == "I")
        whites = {bits: 2**bits - 1 for bits in _CAMERA_BITS}
        told: Any = tags.get(_MAX_SAMPLE_VALUE)
        told = told[0] if isinstance(told, tuple) and told else told
        # Pillow scales the pixels of a map by the largest value that its header names.
        packed = whites.get(tags.get(Base.BitsPerSample, (16,))[0])
        return cls(
            is_grey_16_bit=is_grey,
            lacks_range=raw or (is_grey and not is_map),
            white=WHITE_16_BIT if is_map and not raw else packed,
            told_white=told if told in whites.values() else None,
            white_is_zero=tags.get(Base.PhotometricInterpretation) == 0,
        )


def _drafted(image: JpegImageFile, choose: Choose) -> Part:
    """Let a JPEG image be decoded as small as its chosen part allows; where that part is then."""
    orientation = image.getexif().get(Base.Orientation, 1)
    stored = image.size
    part = choose(stored[::-1] if orientation in _TURNED else stored)
    divisor = part.draft
    if divisor == 1 or not image.draft(None, (stored[0] // divisor, stored[1] // divisor)):
        return part
    # Its size was rounded up: the last column and row show less than others, also when turned.
    more = [now - before / divisor for now, before in zip(image.size, stored, strict=True)]
    right, down = more[::-1] if orientation in _TURNED else more
    x, y = right * (orientation in _FROM_RIGHT), down * (orientation in _FROM_BOTTOM)
    left, top, end, bottom = (edge / divisor for edge in part.box)
    return replace(part, box=(left + x, top + y, end + x, bottom + y))


@cache
def _jpeg_decoder() -> Callable[[bytes], np.ndarray] | None:
    """The decoder of the extra ``jpeg``; None without it."""
    try:
        from simplejpeg import decode_jpeg
    except ImportError:
        return None
    # What Pillow leaves at libjpeg's defaults is so here, to give the same pixels.
    return partial(decode_jpeg, colorspace="RGB", fastdct=False, fastupsample=False)


def _packed(image: JpegImageFile) -> np.ndarray | None:
    """Pixels (H, W, 3) of an opened file; None of one that Pillow must read."""
    decode, turned = _jpeg_decoder(), image.getexif().get(Base.Orientation, 1) != 1
    if decode is None or turned or image.mode not in {"RGB", "L"} or image.decoderconfig:
        return None
    assert image.fp is not None
    image.fp.seek(0)
    try:
        return decode(image.fp.read())
    except ValueError:  # damaged, which Pillow says in its own words, or bears
        return None


def _check_used_bits(largest: int) -> None:
    """Refuse 16-bit pixels that look like those of a camera of fewer bits."""
    bits = max(10, largest.bit_length() + largest.bit_length() % 2)
    if 0 < largest < 2 ** max(_CAMERA_BITS):
        raise _PixelsError(
            f"16-bit pixels of at most {largest} of {WHITE_16_BIT} would be nearly black: set"
            f" --data.white_16_bit {2**bits - 1} if they are of {bits} bits, {WHITE_16_BIT} if not"
        )
