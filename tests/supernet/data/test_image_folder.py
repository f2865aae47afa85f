"""ImageFolder: layouts, files of every kind, preprocessing, and errors in one line."""

from __future__ import annotations

import traceback
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from supernet.data.image_folder import ImageFolder
from supernet.data.images.image_reading import CorruptImageError
from supernet.data.run_data import RunData
from supernet.data_description import Preprocessing
from supernet.errors import UserError

PARTS = ("weights", "reward", "val", "test")


def loader(data: ImageFolder, part: str) -> DataLoader:
    return getattr(data, f"{part}_dataloader")()


def write_images(folder: Path, count: int, size: tuple[int, int] = (12, 9)) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(zlib.crc32("/".join(folder.parts[-2:]).encode()))
    for index in range(count):
        pixels = rng.integers(256, size=(size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("cat", "dog", "owl"):
        write_images(tmp_path / "images" / name, 10)
    return tmp_path / "images"


def folder(root: Path, **settings: object) -> ImageFolder:
    return ImageFolder(
        str(root), **{"resolution": 8, "batch_size": 4, "num_workers": 0, **settings}
    )


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    line = str(error.value)
    assert "\n" not in line
    return line


def test_a_folder_knows_its_classes_before_it_is_read(root: Path) -> None:
    data = folder(root, resolution=96)
    assert (data.num_classes, data.resolution, data.stem_stride) == (3, 96, 2)
    assert data.classes == ("cat", "dog", "owl")


def test_a_folder_of_classes_is_split_by_content_and_seed(root: Path) -> None:
    files = {part: loader(folder(root), part).dataset.files for part in PARTS}
    assert min(map(len, files.values())) > 0
    assert len({path for part in files.values() for path, _ in part}) == 30
    assert sum(map(len, files.values())) == 30
    assert all(
        root / folder(root).classes[label] == Path(path).parent for path, label in files["test"]
    )
    assert loader(folder(root), "test").dataset.files == files["test"]
    assert loader(folder(root, split_seed=1), "test").dataset.files != files["test"]


def test_folders_named_train_val_and_test_are_taken_as_they_are(tmp_path: Path) -> None:
    for part, count in {"train": 10, "val": 2, "test": 3}.items():
        for name in ("cat", "dog"):
            write_images(tmp_path / part / name, count)
    data = folder(tmp_path, reward_share=0.2)
    sizes = {part: len(loader(data, part).dataset) for part in ("train", *PARTS)}
    assert sizes["weights"] + sizes["reward"] == sizes["train"] == 20
    assert (sizes["val"], sizes["test"]) == (4, 6)
    assert sizes["reward"] > 0
    assert all("/test/" in path for path, _ in loader(data, "test").dataset.files)


def test_a_missing_val_folder_is_split_off_train(tmp_path: Path) -> None:
    for part, count in {"train": 20, "test": 3}.items():
        for name in ("cat", "dog"):
            write_images(tmp_path / part / name, count)
    files = {part: loader(folder(tmp_path), part).dataset.files for part in PARTS}
    assert len(files["test"]) == 6
    assert files["val"]
    assert all("/train/" in path for path, _ in files["val"])
    assert sum(len(files[part]) for part in ("weights", "reward", "val")) == 40


def test_images_of_every_size_and_mode_come_out_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for index, mode in enumerate(("L", "LA", "RGB", "RGBA", "P", "1", "CMYK", "I;16")):
        size = (7 + 30 * index, 40)
        suffix = "tif" if "C" in mode else "png"
        target = tmp_path / ("a" if index % 2 else "b") / f"{index}.{suffix}"
        target.parent.mkdir(exist_ok=True)
        if mode == "I;16":
            image = Image.fromarray(rng.integers(2**16, size=size[::-1]).astype(np.uint16))
        else:
            noise = rng.integers(256, size=(*size[::-1], 3), dtype=np.uint8)
            image = Image.fromarray(noise).convert(mode)
        image.save(target, **({"transparency": b"\x00\x7f"} if mode == "P" else {}))
    data = folder(tmp_path, resolution=16)
    for part in ("train", "val", "test"):
        for image, _ in loader(data, part).dataset:
            assert image.shape == (3, 16, 16)
            assert image.dtype == torch.float32


def test_evaluation_takes_the_normalised_centre_of_the_image(tmp_path: Path) -> None:
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[4:60, 36:92] = 255  # seven eighths of the shorter side
    for name in ("a", "b"):
        write_images(tmp_path / "train" / name, 10)
        (tmp_path / "test" / name).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "test" / name / "0.png")
    data = folder(tmp_path, resolution=56, mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))
    image, _ = loader(data, "test").dataset[0]
    assert torch.equal(image, torch.tensor([1.0, 1.0, 0.0])[:, None, None].expand(3, 56, 56))
    whole, _ = loader(folder(tmp_path, resolution=64, crop_pct=1.0), "test").dataset[0]
    shown = (whole > 0).all(dim=0)
    assert torch.equal(shown, torch.from_numpy(pixels[:, 32:96, 0] > 0))
    with pytest.raises(UserError, match=r"crop_pct is 1\.5, it must be .* at most 1"):
        folder(tmp_path, crop_pct=1.5)


def test_the_description_says_how_images_are_prepared(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_images(tmp_path / name, 5, (90, 70))
    settings = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "background": (1, 2, 3)}
    data = folder(tmp_path, resolution=32, **settings)
    assert data.description.classes == ("a", "b")
    steps = data.description.preprocessing
    assert steps == Preprocessing(37, 32, "bicubic", *settings.values())
    images = loader(data, "val").dataset
    image = Image.open(images.files[0][0])
    image = image.resize((37 * 90 // 70, 37), Image.Resampling.BICUBIC)
    left, top = round((image.width - 32) / 2), round((image.height - 32) / 2)
    pixels = np.asarray(image.crop((left, top, left + 32, top + 32))) / np.float32(255)
    expected = (pixels - np.float32(steps.mean)) / np.float32(steps.std)
    np.testing.assert_allclose(images[0][0].permute(1, 2, 0), expected, rtol=1e-5, atol=1e-6)


def test_the_background_and_white_of_images_are_set(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(4):
            Image.new("LA", (8 + index, 8)).save(tmp_path / name / f"{index}.png")
            dark = np.full((8, 8 + index), 4095, np.uint16)
            Image.fromarray(dark).save(tmp_path / name / f"{index + 4}.png")
    settings = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "white_16_bit": 4095}
    data = folder(tmp_path, background=(255, 0, 51), **settings)
    images = [image[:, 4, 4] * 255 for image, _ in loader(data, "train").dataset]
    assert {tuple(colour.round().tolist()) for colour in images} == {(255, 0, 51), (255, 255, 255)}


def test_the_first_line_says_what_the_folder_holds(tmp_path: Path, capsys: Any) -> None:
    write_images(tmp_path / "train" / "cat", 12)
    write_images(tmp_path / "train" / "dog", 12, (40, 30))
    for part in ("val", "test"):
        for name in ("cat", "dog"):
            write_images(tmp_path / part / name, 3, (20, 20 + len(part)))
    (tmp_path / "train" / "cat" / "0.png").rename(tmp_path / "train" / "cat" / ".0.png")
    (tmp_path / "train" / "cat" / "1.png").rename(tmp_path / "train" / "cat" / "1.heic")
    (tmp_path / "train" / "dog" / "copy.png").write_bytes(
        (tmp_path / "train" / "dog" / "1.png").read_bytes()
    )
    frames = [Image.new("RGB", (24, 18), (value, 0, 0)) for value in (9, 200)]
    frames[0].save(tmp_path / "train" / "dog" / "many.gif", save_all=True, append_images=frames[1:])
    data = RunData(folder(tmp_path), "retrain", seed=0)
    data.setup("fit")
    line = capsys.readouterr().out
    assert line.startswith(
        "data: 2 classes (cat, dog); 24 training, 6 validation, 6 test images of 12x9 to 40x30 px,"
        " read at 8 px; 1 .heic, 1 hidden ignored; 1 of several frames, of which the first is"
        " read; 1 exact copies"
    )


def test_only_training_images_are_cropped_at_random(root: Path) -> None:
    for part in ("reward", "val", "test"):
        images = loader(folder(root), part).dataset
        assert torch.equal(images[0][0], images[0][0])
    images = loader(folder(root), "weights").dataset
    assert not torch.equal(images[0][0], images[0][0])


def damage_a_test_image(data: ImageFolder, content: bytes) -> Path:
    path = Path(loader(data, "test").dataset.files[0][0])
    path.write_bytes(content)
    return path


def test_training_images_are_whole_and_upright_where_that_is_set(root: Path) -> None:
    """Whole but for their shape: a crop has an aspect of 3/4 to 4/3."""
    data = ImageFolder(str(root), resolution=8, crop_area=1.0, flip=0.0)
    flipped = ImageFolder(str(root), resolution=8, crop_area=1.0, flip=1.0)
    for seed in range(4):
        drawn = []
        for one in (data, flipped):
            torch.manual_seed(seed)
            drawn.append(one.train_dataloader().dataset[0][0])
        assert torch.allclose(drawn[0], drawn[1].flip(-1), atol=1e-4)
    with pytest.raises(UserError, match="crop_area is 0, it must be above 0"):
        ImageFolder(str(root), crop_area=0)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"])
def test_a_corrupt_file_is_named_in_one_line(root: Path, content: bytes) -> None:
    data = folder(root)
    path = damage_a_test_image(data, content)
    with pytest.raises(CorruptImageError) as error:
        list(loader(data, "test"))
    assert one_line(error).startswith(f"{path} cannot be read as an image")


def test_a_truncated_file_is_named(root: Path) -> None:
    data = folder(root)
    whole = Path(loader(data, "test").dataset.files[0][0]).read_bytes()
    path = damage_a_test_image(data, whole[: len(whole) // 2])
    with pytest.raises(CorruptImageError, match=f"^{path} cannot be read"):
        list(loader(data, "test"))


def test_a_worker_names_a_corrupt_file_in_the_same_line(root: Path) -> None:
    data = folder(root, num_workers=1)
    path = damage_a_test_image(data, b"no image")
    with pytest.raises(CorruptImageError) as error:
        list(loader(data, "test"))
    assert one_line(error).startswith(f"{path} cannot be read as an image")
    traceback.clear_frames(error.tb)  # ends the worker now, not when garbage is collected


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere is not a folder") as error:
        folder(tmp_path / "nowhere")
    one_line(error)


def test_an_empty_root_and_a_single_class_are_refused(tmp_path: Path) -> None:
    (tmp_path / ".hidden").mkdir()
    with pytest.raises(UserError, match=r"holds 0 class folder\(s\)"):
        folder(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(UserError, match=r"holds 1 class folder\(s\)"):
        folder(tmp_path)


def test_a_class_folder_without_images_is_named(root: Path) -> None:
    (root / "ant").mkdir()
    (root / "ant" / "notes.txt").write_text("none yet")
    with pytest.raises(UserError, match="ant holds no images") as error:
        loader(folder(root), "train")
    one_line(error)


def test_parts_with_different_classes_are_refused(tmp_path: Path) -> None:
    for part, names in {"train": ("cat", "dog"), "val": ("cat", "owl")}.items():
        for name in names:
            write_images(tmp_path / part / name, 6)
    with pytest.raises(UserError, match="has no class folder owl") as error:
        loader(folder(tmp_path), "train")
    one_line(error)


@pytest.mark.parametrize(
    "shares", [{"val_share": 0.0}, {"test_share": 0.8}, {"reward_share": -1.0}]
)
def test_shares_that_leave_nothing_are_refused(root: Path, shares: dict[str, float]) -> None:
    with pytest.raises(UserError, match="must be above 0 and leave training images"):
        folder(root, **shares)


def test_a_resolution_and_a_deviation_out_of_range_are_refused(root: Path) -> None:
    with pytest.raises(UserError, match="resolution is 7, it must be at least 8"):
        folder(root, resolution=7)
    with pytest.raises(UserError, match=r"std is 0\.0, it must be above 0"):
        folder(root, std=(0.2, 0.0, 0.2))
