"""Kept images: the same pixels as without them, by content, and never more than the disk holds."""

import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from supernet.data.crops import CentralCrop, RandomCrop, Reader
from supernet.data.image_folder import ImageFolder
from supernet.data.images.image_reading import ImageReader
from supernet.data.images.kept_images import KeptReader
from supernet.data.run_data import RunData
from supernet.data_description import Preprocessing
from supernet.errors import UserError

TOLD = Preprocessing(37, 32, "bicubic", (0.5,) * 3, (0.2,) * 3)
CROPS = {"random": RandomCrop(32, 0.08, 0.5), "central": CentralCrop(TOLD)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MNASNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "decoded"


def write(path: Path, size: tuple[int, int], orientation: int = 1, seed: int = 0) -> str:
    """A smooth photo, as noise is another at each size that it is decoded at."""
    colours = np.random.default_rng(seed).integers(256, size=(5, 5, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC)
    image.save(path, exif=exif, quality=95)
    return str(path)


def reader(path: str, crop: str) -> KeptReader:
    return KeptReader(ImageReader(), {path: "0" * 32}, CROPS[crop].whole, CROPS[crop].kept_as)


def drawn(reader: Reader, path: str, crop: str) -> Tensor:
    torch.manual_seed(3)
    return torch.stack([CROPS[crop](reader, path) for _ in range(4)])


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_kept_image_gives_the_pixels_of_its_file(
    tmp_path: Path, crop: str, orientation: int
) -> None:
    path = write(tmp_path / "a.jpg", (1003, 757), orientation)
    kept = reader(path, crop)
    first = drawn(kept, path, crop)
    assert torch.equal(drawn(kept, path, crop), first)
    plain = drawn(ImageReader(), path, crop)
    if crop == "central":
        assert torch.equal(first, plain)
    # Crops were decoded at sizes of their own.
    assert (first.int() - plain.int()).abs().float().mean() < 1


def test_an_image_is_kept_as_large_as_its_smallest_crop_needs(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path / "a.jpg", (1003, 757))
    for crop in CROPS:
        drawn(reader(path, crop), path, crop)
    sizes = sorted(file.stat().st_size for file in cache.rglob("*.rgb"))
    # Whole, an evaluation needs 4 x 37 of 757 px; a crop of 8 % is 213 px wide at least.
    assert sizes == [251 * 190 * 3 + 64] * 2
    missing = [reader(path, crop).missing_bytes({path: (1003, 757)}) for crop in CROPS]
    assert missing == [0, 0]
    shutil.rmtree(cache)
    missing = [reader(path, crop).missing_bytes({path: (1003, 757)}) for crop in CROPS]
    assert missing == [251 * 190 * 3] * 2


@pytest.mark.parametrize("content", [b"", b"damaged", b"damaged " * 20, bytes(64)])
def test_a_damaged_kept_image_is_decoded_anew(tmp_path: Path, cache: Path, content: bytes) -> None:
    path = write(tmp_path / "a.jpg", (120, 90))
    expected = drawn(reader(path, "central"), path, "central")
    (file,) = cache.rglob("*.rgb")
    whole = file.read_bytes()
    file.write_bytes(content or whole[:-1])
    assert torch.equal(drawn(reader(path, "central"), path, "central"), expected)
    assert file.read_bytes() == whole


def test_a_disk_that_takes_no_more_is_said_once(tmp_path: Path, cache: Path, capsys: Any) -> None:
    path = write(tmp_path / "a.jpg", (120, 90))
    cache.parent.mkdir()
    cache.write_text("no folder")
    assert drawn(reader(path, "random"), path, "random").shape == (4, 3, 32, 32)
    assert capsys.readouterr().err.count("note: decoded images are no longer kept") == 1


def folder(tmp_path: Path, **settings: object) -> ImageFolder:
    for number in range(24):
        split = ("train", "train", "val", "test")[number // 6]
        path = tmp_path / "images" / split / f"class{number % 2}" / f"{number}.jpg"
        if not path.exists():
            write(path, (60, 50), seed=number)
    given = {"resolution": 32, "batch_size": 4, "num_workers": 0, "cache": True, **settings}
    return ImageFolder(str(tmp_path / "images"), **given)


def test_a_second_epoch_decodes_nothing_and_a_changed_file_is_decoded_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    decode = ImageReader.read_part

    def counted(self: ImageReader, path: str, choose: Any) -> Any:
        read.append(path)
        return decode(self, path, choose)

    def validate() -> list[Tensor]:
        data = folder(tmp_path)
        data.prepare_data()
        read.clear()  # what looks at all files once before a run is no decoding of ours
        return [image for image, _ in data.val_dataloader().dataset]

    monkeypatch.setattr(ImageReader, "read_part", counted)
    first = validate()
    assert len(read) == len(first)
    assert all(map(torch.equal, validate(), first))
    assert read == []
    changed = Path(folder(tmp_path).val_dataloader().dataset.files[0][0])
    write(changed, (60, 50), seed=99)
    after = validate()
    assert read == [str(changed)]
    assert len(after) == len(first)
    same = [any(torch.equal(image, before) for before in first) for image in after]
    assert sum(same) == len(first) - 1


def test_a_run_sees_what_it_would_see_without_and_says_where_it_keeps(
    tmp_path: Path, capsys: Any
) -> None:
    images = []
    for cache in (False, True, True):
        data = RunData(folder(tmp_path, cache=cache), "search", seed=0)
        data.prepare_data()
        data.setup("fit")
        images.append(torch.cat([batch for batch, _ in data.weights_batches(8)]))
    assert torch.equal(images[1], images[0])
    assert torch.equal(images[2], images[0])
    said = capsys.readouterr().out.splitlines()
    assert "decoded" not in said[0]
    assert said[1].endswith(f"; decoded images kept in {tmp_path}/cache/decoded, 0.00 GB more")


def test_images_that_the_disk_does_not_hold_are_refused_before_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")(10**5, 10**5 - 10, 10)
    data = folder(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"data\.cache is true, but the decoded images") as error:
        data.prepare_data()
    assert "\n" not in str(error.value)
    folder(tmp_path, cache=False).prepare_data()
