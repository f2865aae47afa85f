"""Pixels: 8 bits as far as the device, and the same network inputs as before."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from supernet.data.image_folder import ImageFolder
from supernet.data.pixels import in_pixels, normalised, normalised_batch
from supernet.data.resumable import resumable
from supernet.data.run_data import RunData
from supernet.data_description import DataDescription, Preprocessing
from supernet.training.augmentation import Augmentation

CPU = torch.device("cpu")
TOLD = Preprocessing(8, 8, "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture
def data(tmp_path: Path) -> ImageFolder:
    rng = np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / "images" / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(256, size=(24, 20, 3), dtype=np.uint8)).save(path)
    return ImageFolder(str(tmp_path / "images"), resolution=8, batch_size=4, num_workers=0)


def read(loader: Any, run_data: RunData) -> Tensor:
    """Network inputs of a loader's batches, which hold pixels."""
    batches = list(loader)
    assert {images.dtype for images, *_ in batches} == {torch.uint8}
    return torch.cat([run_data.moved(batch, CPU)[0] for batch in batches])


def test_a_run_reads_pixels_and_sees_the_images_of_the_data_set(data: ImageFolder) -> None:
    run_data = RunData(data, "retrain", seed=0)
    for now, dataset in (
        (run_data.val_batches(), data.val_dataloader().dataset),
        (run_data.test_dataloader(), data.test_dataloader().dataset),
    ):
        expected = torch.stack([image for image, _ in dataset])
        assert expected.dtype == torch.float32
        assert torch.equal(read(now, run_data), expected)


def test_a_search_reads_pixels_of_every_split(data: ImageFolder) -> None:
    run_data = RunData(data, "search", seed=0, reward_batch_size=2)
    expected = list(resumable(data.weights_dataloader(), seed=0))
    found = read(run_data.weights_batches(99), run_data)
    assert torch.equal(found, torch.cat([images for images, _ in expected]))
    assert read([run_data.reward_batch(3, 0)], run_data).shape == (2, 3, 8, 8)


def test_images_held_out_of_a_data_set_are_pixels_too(data: ImageFolder) -> None:
    held_out = Subset(data.train_dataloader().dataset, [3, 1])
    assert in_pixels(held_out)[1][0].dtype == torch.uint8
    assert held_out.dataset.targets[1] == in_pixels(held_out)[1][1]


def test_workers_hand_over_a_quarter_of_the_bytes(data: ImageFolder) -> None:
    images, _ = RunData(data, "search", seed=0).reward_batch(0, 0)
    floats = torch.stack([image for image, _ in data.reward_dataloader().dataset])
    assert 4 * images[0].nbytes == floats[0].nbytes


class Own(pl.LightningDataModule):
    """A user's datamodule of images as they are given."""

    num_classes, resolution = 2, 8

    def __init__(self, images: Tensor, told: Preprocessing | None) -> None:
        super().__init__()
        self.images = TensorDataset(images, torch.arange(len(images)) % 2)
        self.description = DataDescription(("a", "b"), preprocessing=told)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.images, batch_size=4)

    val_dataloader = test_dataloader = train_dataloader


def test_a_users_floats_stay_as_they_are() -> None:
    floats = torch.rand(8, 3, 8, 8)
    run_data = RunData(Own(floats, TOLD), "retrain", seed=0)
    batches = [run_data.moved(batch, CPU)[0] for batch in run_data.val_batches()]
    assert torch.equal(torch.cat(batches), floats)


def test_a_users_pixels_are_normalised_as_its_description_says() -> None:
    pixels = torch.randint(256, (8, 3, 8, 8), dtype=torch.uint8)
    run_data = RunData(Own(pixels, TOLD), "retrain", seed=0)
    assert torch.equal(read(run_data.val_batches(), run_data), normalised(pixels, TOLD))
    unknown = RunData(Own(pixels, None), "retrain", seed=0)
    assert next(iter(unknown.val_batches()))[0].dtype == torch.uint8
    assert unknown.moved((pixels, 0), CPU)[0] is pixels


def test_a_users_hook_comes_before() -> None:
    class Doubling(Own):
        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return [batch[0] // 2, batch[1]]

    pixels = torch.randint(256, (8, 3, 8, 8), dtype=torch.uint8)
    run_data = RunData(Doubling(pixels, TOLD), "retrain", seed=0)
    assert torch.equal(read(run_data.val_batches(), run_data), normalised(pixels // 2, TOLD))


def test_batches_of_lists_are_no_pixels() -> None:
    batch = ([torch.zeros(3, 8, 8)], [{}])
    assert normalised_batch(batch, TOLD) is batch


@pytest.mark.parametrize("settings", [{"rotation": 30.0}, {"flip": 1.0, "erasing": 1.0}])
def test_augmentation_changes_pixels_as_it_changes_their_images(
    data: ImageFolder, settings: dict[str, float]
) -> None:
    plain = data.plain_train_dataloader().dataset
    augmentation, told = Augmentation(**settings), data.preprocessing

    def drawn(dataset: Dataset) -> Tensor:
        view: Any = augmentation.of_images(dataset, told)
        return torch.stack([image for image, _ in view.seeded_items([0, 1, 2], [5, 6, 7])])

    pixels = drawn(in_pixels(plain))
    assert pixels.dtype == (torch.float32 if "erasing" in settings else torch.uint8)
    pixels = pixels if "erasing" in settings else normalised(pixels, told)
    torch.testing.assert_close(pixels, drawn(plain))
