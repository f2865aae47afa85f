"""Pixels of image files: as a viewer shows them, or refused by name."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from supernet.data.images.image_reading import CorruptImageError, ImageReader
from supernet.errors import UserError

PICTURE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14
RAMP = np.linspace(0, 4095, 16).astype(np.uint16).reshape(2, 8)
ORIENTATION, MAX_SAMPLE_VALUE = 0x0112, 281
TURNS = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).transpose(1, 0, 2),
    8: np.rot90,
}
"""What a viewer does for each EXIF orientation (TIFF 6.0, p. 36)."""


def read(path, **settings):
    image = ImageReader(**settings).read(str(path))
    assert image.mode == "RGB"
    return np.asarray(image)


def grey(path, **settings):
    pixels = read(path, **settings)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def refused(path, **settings):
    with pytest.raises(CorruptImageError) as error:
        read(path, **settings)
    line = str(error.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    return line


def exif(orientation):
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


def write_png_16_bit(path, pixels):
    """A PNG of 16 bits a channel, which Pillow cannot write."""
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[pixels.shape[2]]
    size = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = [(b"IHDR", size), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    coded = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(coded))


# --- orientation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", TURNS)
def test_an_image_is_turned_as_its_exif_data_say(tmp_path, orientation, suffix):
    path = tmp_path / f"a{suffix}"
    more = {"lossless": True} if suffix == ".webp" else {}
    Image.fromarray(PICTURE).save(path, exif=exif(orientation), **more)
    np.testing.assert_array_equal(read(path), TURNS[orientation](PICTURE))


def test_a_photograph_of_a_phone_is_upright(tmp_path):
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:, :24] = 200
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95, exif=exif(6))
    assert abs(read(tmp_path / "a.jpg") - np.rot90(pixels, -1).astype(int)).max() <= 3


def test_16_bit_images_are_turned_as_well(tmp_path):
    stored = (PICTURE[..., 0].astype(np.uint16) * 257)[..., None].squeeze()
    stored[0, 0] = 2**16 - 1
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif(6))
    np.testing.assert_array_equal(grey(tmp_path / "a.png"), np.rot90(stored, -1) // 257)


# --- transparency ---------------------------------------------------------------------------------


def test_transparency_is_laid_on_the_background(tmp_path):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = 0, 128, 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png")[0, :, 0].tolist() == [255, 127, 0]
    blue = read(tmp_path / "a.png", background=(0, 0, 200))
    assert blue[0].tolist() == [[0, 0, 200], [0, 0, 100], [0, 0, 0]]


@pytest.mark.parametrize("mode", ["LA", "P", "L", "RGB", "I;16", "1"])
def test_every_kind_of_transparency_shows_the_background(tmp_path, mode):
    path = tmp_path / "a.png"
    mask = np.array([[0, 255, 0, 255]], np.uint8)  # the black pixels are transparent
    more = {"transparency": 0}
    if mode == "LA":
        image, more = Image.fromarray(np.stack([mask, mask], -1)), {}
    elif mode == "P":
        image = Image.fromarray(mask // 255)
        image.putpalette([0, 0, 0, 255, 255, 255])
    elif mode == "I;16":
        image = Image.fromarray(mask.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(mask).convert(mode)
        more = {"transparency": (0, 0, 0)} if mode == "RGB" else more
    image.save(path, **more)
    shown = read(path, background=(10, 20, 30))
    assert shown[0].tolist() == [[10, 20, 30], [255] * 3] * 2


def test_shapes_that_vanish_on_the_background_are_refused(tmp_path):
    pixels = np.full((8, 8, 4), 255, np.uint8)
    pixels[2:6, 2:6, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "white.png")
    line = refused(tmp_path / "white.png")
    assert "vanish on the background [255, 255, 255]: set --data.background" in line
    assert read(tmp_path / "white.png", background=(0, 0, 0))[2:6, 2:6].max() == 0


# --- depth ----------------------------------------------------------------------------------------


def test_grey_images_keep_their_brightness_whatever_their_depth(tmp_path):
    stored = np.array([[0, 0x4080, 0x8000, 0xFFFF]], np.uint16)
    Image.fromarray(stored).save(tmp_path / "16.png")
    assert grey(tmp_path / "16.png").tolist() == [[0, 0x40, 0x80, 0xFF]]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jp2"])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_images_of_a_camera_are_refused_until_their_white_is_set(tmp_path, bits, suffix):
    path = tmp_path / f"a{suffix}"
    white = 2**bits - 1
    stored = np.linspace(0, white, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(stored).save(path)
    line = refused(path)
    assert f"at most {white} of 65535" in line
    assert f"--data.white_16_bit {white} if they are of {bits} bits, 65535 if not" in line
    np.testing.assert_array_equal(grey(path, white_16_bit=white), np.rint(stored * (255 / white)))
    assert grey(path, white_16_bit=2**16 - 1).max() == round(white * 255 / 65535)


def test_a_pixel_above_white_is_refused(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    assert "has the value 4095, where white is 1023" in refused(
        tmp_path / "a.png", white_16_bit=1023
    )


def test_a_file_may_tell_its_white(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "a.tif", tiffinfo={MAX_SAMPLE_VALUE: 4095})
    maps = [b"P5 8 2 4095\n" + RAMP.astype(">u2").tobytes()]
    maps.append(b"P2 8 2 4095\n" + b" ".join(b"%d" % value for value in RAMP.flat))
    for index, content in enumerate(maps):
        (tmp_path / f"{index}.pgm").write_bytes(content)
    for name in ("a.tif", "0.pgm", "1.pgm"):
        shown = grey(tmp_path / name)
        assert abs(shown - RAMP * (255 / 4095)).max() <= 1
        assert (shown.min(), shown.max()) == (0, 255)
    (tmp_path / "2.pgm").write_bytes(b"P5 8 2 65535\n" + RAMP.astype(">u2").tobytes())
    assert "at most 4095 of 65535" in refused(tmp_path / "2.pgm")


def tiff(bits, photometric, data):
    """A little-endian grey TIFF of 2 x 1 px (TIFF 6.0, sec. 3 and 4)."""
    fields = {256: 2, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 8, 278: 1, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in fields.items())
    start = struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data
    return start + struct.pack("<H", len(fields)) + entries + bytes(4)


def test_pixels_of_12_bits_have_their_own_white(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(12, 1, b"\xff\xf8\x00" + b"\0"))
    assert grey(tmp_path / "a.tif").tolist() == [[255, 128]]


def test_white_may_be_zero(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(16, 0, struct.pack("<2H", 0xFFFF, 0x4040)))
    assert grey(tmp_path / "a.tif").tolist() == [[0, 255 - 64]]


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colours_of_a_camera_are_refused(tmp_path, channels):
    path = tmp_path / "a.png"
    pixels = np.repeat(RAMP[..., None], channels, 2)
    if channels == 4:
        pixels[..., 3] = 2**16 - 1
    write_png_16_bit(path, pixels)
    assert "nearly black" in refused(path)
    assert "only the upper 8 bits can be read" in refused(path, white_16_bit=4095)
    write_png_16_bit(path, np.concatenate([pixels[..., :3] * 16, pixels[..., 3:]], 2))
    np.testing.assert_array_equal(grey(path), RAMP * 16 // 256)


def test_16_bit_colours_that_are_so_dark_are_read_when_asked(tmp_path):
    write_png_16_bit(tmp_path / "a.png", np.repeat(RAMP[..., None], 3, 2))
    assert grey(tmp_path / "a.png", white_16_bit=2**16 - 1).max() == 15


def test_a_16_bit_image_may_be_black(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "a.png")
    assert grey(tmp_path / "a.png").max() == 0


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_pixels_of_unknown_range_are_refused(tmp_path, kind):
    Image.fromarray(np.full((4, 4), 0.5).astype(kind)).save(tmp_path / "a.tif")
    assert "32-bit pixels" in refused(tmp_path / "a.tif")


@pytest.mark.parametrize("settings", [{"white_16_bit": 65536}, {"background": (0, 0, 256)}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(UserError, match=f"{next(iter(settings))} is"):
        ImageReader(**settings)


# --- formats and damage ---------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".gif", ".png", ".tif", ".webp"])
def test_the_first_of_several_frames_is_read_and_told(tmp_path, suffix):
    frames = [Image.new("RGB", (4, 4), (value, 0, 0)) for value in (255, 0)]
    more = {"lossless": True} if suffix == ".webp" else {}
    frames[0].save(tmp_path / f"many{suffix}", save_all=True, append_images=frames[1:], **more)
    frames[0].save(tmp_path / f"one{suffix}", **more)
    assert read(tmp_path / f"many{suffix}").reshape(-1, 3).tolist() == [[255, 0, 0]] * 16
    assert ImageReader().num_frames(str(tmp_path / f"many{suffix}")) == 2
    assert ImageReader().num_frames(str(tmp_path / f"one{suffix}")) == 1


@pytest.mark.parametrize("suffix", [".gif", ".jfif", ".avif", ".jpe", ".bmp", ".ppm", ".jp2"])
def test_formats_that_pillow_decodes_are_read(tmp_path, suffix):
    Image.new("RGB", (16, 16), (200, 200, 200)).save(tmp_path / f"a{suffix}")
    assert abs(grey(tmp_path / f"a{suffix}").astype(int) - 200).max() <= 3


def test_a_file_that_would_run_a_program_is_no_image(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", "EPS")  # Pillow renders it by Ghostscript
    assert "cannot be read as an image" in refused(tmp_path / "a.png")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "JPEG2000", "AVIF"])
def test_damaged_files_are_read_or_named(tmp_path, form):
    rng = np.random.default_rng(0)
    stream = io.BytesIO()
    Image.fromarray(rng.integers(256, size=(24, 24, 3), dtype=np.uint8)).save(stream, form)
    whole = np.frombuffer(stream.getvalue(), np.uint8)
    path = tmp_path / "a.png"
    for trial in range(40):
        damaged = whole.copy()
        damaged[rng.integers(len(whole), size=8)] = rng.integers(256, size=8)
        path.write_bytes(damaged[: rng.integers(1, len(whole))] if trial % 2 else damaged)
        with contextlib.suppress(CorruptImageError):
            read(path)
