"""Crops: what is decoded small shows what the whole file shows, within a stated tolerance."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor
from torchvision.transforms import v2

from supernet.data.crops import CentralCrop, RandomCrop
from supernet.data.images import image_reading
from supernet.data.images.image_reading import Box, CorruptImageError, ImageReader, Part, Size
from supernet.data_description import Preprocessing

READER = ImageReader()
TOLD = Preprocessing(73, 64, "bicubic", (0.5,) * 3, (0.2,) * 3)


def photo(size: tuple[int, int]) -> Image.Image:
    """A photo with the noise of a sensor."""
    china = Image.fromarray(load_sample_image("china.jpg")).resize(size, Image.Resampling.LANCZOS)
    noise = np.random.default_rng(0).normal(0, 6, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(china) + noise).clip(0, 255).astype(np.uint8))


def write(path: Path, image: Image.Image, orientation: int = 1, **settings: object) -> str:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, **{"quality": 90, **settings})
    return str(path)


def evaluated(path: str) -> Tensor:
    """What exported files say of their inputs, of the whole file."""
    steps = [v2.Resize(73, v2.InterpolationMode.BICUBIC), v2.CenterCrop(64), v2.PILToTensor()]
    return v2.Compose(steps)(READER.read(path))


def trained(path: str) -> Tensor:
    """Inception's preprocessing by torchvision, of the whole file."""
    crop = v2.RandomResizedCrop(64, scale=(0.08, 1))
    return v2.Compose([crop, v2.RandomHorizontalFlip(), v2.PILToTensor()])(READER.read(path))


def differences(one: Tensor, other: Tensor) -> tuple[float, float]:
    """Mean difference of 8-bit pixels, and the one that 99 % of them keep within."""
    found = (one.int() - other.int()).abs().float()
    return float(found.mean()), float(found.quantile(0.99))


def assert_near(path: str, seeds: range = range(2)) -> None:
    """Both crops keep within the tolerances of docs/performance.md."""
    mean, most = differences(CentralCrop(TOLD)(READER, path), evaluated(path))
    assert (mean <= 0.4, most <= 2) == (True, True), (mean, most)
    for seed in seeds:
        torch.manual_seed(seed)
        drawn = RandomCrop(64, 0.08, 0.5)(READER, path)
        after = torch.rand(1)
        torch.manual_seed(seed)
        mean, most = differences(drawn, trained(path))
        assert (mean <= 1, most <= 5) == (True, True), (mean, most)
        assert torch.equal(torch.rand(1), after)  # as many draws as torchvision's


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_file_decoded_small_shows_what_it_shows(tmp_path: Path, orientation: int) -> None:
    """Sides that no divisor divides are rounded up, at an end that turning puts first."""
    assert_near(write(tmp_path / "a.jpg", photo((1003, 757)), orientation))


@pytest.mark.parametrize("size", [(90, 70), (640, 427), (1999, 300), (301, 1501), (1602, 1201)])
def test_files_of_every_size_show_what_they_show(tmp_path: Path, size: tuple[int, int]) -> None:
    assert_near(write(tmp_path / "a.jpg", photo(size), subsampling=0, progressive=True))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_files_of_other_modes_show_what_they_show(tmp_path: Path, mode: str) -> None:
    assert_near(write(tmp_path / "a.jpg", photo((1003, 757)).convert(mode), 6))


def test_files_that_are_not_decoded_small_are_evaluated_to_the_last_bit(tmp_path: Path) -> None:
    for name, size in {"a.png": (1003, 757), "b.jpg": (480, 301)}.items():
        path = write(tmp_path / name, photo(size))
        assert torch.equal(CentralCrop(TOLD)(READER, path), evaluated(path))


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "grey"])
def test_the_decoder_of_the_extra_gives_the_same_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subsampling: str
) -> None:
    pytest.importorskip("simplejpeg", reason="needs pip install 'mnasnet-search[jpeg]'")
    whole = photo((480, 301)).convert("L" if subsampling == "grey" else "RGB")
    colours = {} if subsampling == "grey" else {"subsampling": subsampling}
    sizes = [(1, 1), *np.random.default_rng(0).integers(1, 70, (8, 2)).tolist(), (480, 301)]
    for quality, progressive in ((30, False), (75, True), (100, False)):
        for size in sizes:
            settings = {"quality": quality, "progressive": progressive, **colours}
            path = write(tmp_path / "a.jpg", whole.crop((0, 0, *size)), **settings)
            packed = image_reading._jpeg_decoder()(Path(path).read_bytes())
            assert np.array_equal(packed, READER.read(path))
            torch.manual_seed(0)
            drawn = RandomCrop(64, 0.08, 0.5)(READER, path)
            with monkeypatch.context() as patched:
                patched.setattr(image_reading, "_jpeg_decoder", lambda: None)
                torch.manual_seed(0)
                assert torch.equal(RandomCrop(64, 0.08, 0.5)(READER, path), drawn)


@pytest.mark.parametrize(
    ("box", "size", "enough", "draft"),
    [
        ((0, 0, 4000, 3000), (224, 224), 2, 4),
        ((0, 0, 4000, 3000), (224, 224), 4, 2),
        ((100, 0, 548, 3000), (224, 224), 2, 1),
        ((0, 0, 4000, 3000), (16, 16), 2, 8),
        ((0, 0, 895, 895), (224, 224), 2, 1),
        ((1, 1, 897, 897), (224, 224), 2, 2),
    ],
)
def test_a_part_says_how_small_it_is_decoded(
    box: Box, size: Size, enough: float, draft: int
) -> None:
    assert Part(box, size, enough).draft == draft


def test_a_large_file_is_decoded_small(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", photo((1003, 757)), 6)
    image, part = READER.read_part(path, lambda size: Part((0, 0, *size), (64, 64)))
    # 1003 = 4 x 251 - 1, seen from the other end: what is stored last is now at the top.
    assert image.size == (190, 251)
    assert part.box == (190 - 757 / 4, 0, 190, 1003 / 4)
    assert READER.read(path).size == (757, 1003)


def test_a_file_of_photos_of_a_camera_is_its_first_one(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mpo", photo((1003, 757)), save_all=True, append_images=[photo((9, 9))]
    )
    with Image.open(path) as image:
        assert image.format == "MPO"
    assert_near(path)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_truncated_file_is_named_however_small_it_is_decoded(
    tmp_path: Path, share: float
) -> None:
    content = io.BytesIO()
    photo((1003, 757)).save(content, "JPEG", quality=90)
    path = tmp_path / "a.jpg"
    path.write_bytes(content.getvalue()[: int(share * len(content.getvalue()))])
    for crop in (CentralCrop(TOLD), RandomCrop(64, 0.5, 0.5)):
        with pytest.raises(CorruptImageError, match=f"^{path} cannot be read as an image"):
            crop(READER, str(path))
