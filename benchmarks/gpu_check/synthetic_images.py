"""Synthetic images: noise, which costs nothing to load, and JPEG files, which cost the most."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import pytorch_lightning as pl
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.gpu_check.machine import AMOUNT, GPU
from benchmarks.gpu_check.rows import Rows

NUM_CLASSES = 10
NUM_FILE_CLASSES = 8
Sample = tuple[Tensor, int]


class Noise(Dataset[Sample]):
    """One image, given again and again under labels that take turns."""

    def __init__(self, num_images: int, resolution: int) -> None:
        """``num_images`` times an image (3, R, R)."""
        self.targets = [index % NUM_CLASSES for index in range(num_images)]
        self.image = torch.randn(3, resolution, resolution)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Sample:
        return self.image, self.targets[index]


class Synthetic(pl.LightningDataModule):
    """Data without reading or decoding, to time everything else."""

    def __init__(
        self,
        resolution: int = 224,
        batch_size: int = 64,
        num_images: int = 20000,
        num_workers: int = 4,
    ) -> None:
        """Images of ``resolution`` px; ``num_images`` of them for training."""
        super().__init__()
        self.num_classes, self.resolution = NUM_CLASSES, resolution
        self.batch_size, self.num_images, self.num_workers = batch_size, num_images, num_workers

    def _loader(self, share: float, shuffle: bool) -> DataLoader[Sample]:
        return DataLoader(
            Noise(int(self.num_images * share), self.resolution),
            self.batch_size,
            shuffle=shuffle,
            drop_last=shuffle,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=GPU,
        )

    def train_dataloader(self) -> DataLoader[Sample]:
        """All training images."""
        return self._loader(1.0, shuffle=True)

    def weights_dataloader(self) -> DataLoader[Sample]:
        """Those that train a search's weights."""
        return self._loader(0.9, shuffle=True)

    def reward_dataloader(self) -> DataLoader[Sample]:
        """Those that score a search's candidates."""
        return self._loader(0.1, shuffle=False)

    def val_dataloader(self) -> DataLoader[Sample]:
        """A fiftieth as many again."""
        return self._loader(0.02, shuffle=False)

    def test_dataloader(self) -> DataLoader[Sample]:
        """A fiftieth as many again."""
        return self._loader(0.02, shuffle=False)


def write_images(root: Path, num_files: int, side: int) -> None:
    """Write JPEG files in class folders: crops of scikit-learn's two photographs, 4 by 3.

    Args:
        root: of the class folders.
        num_files: in each of them.
        side: width, px.
    """
    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    rng = random.Random(0)
    for label in range(NUM_FILE_CLASSES):
        folder = root / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        photograph = photographs[label % 2].rotate(90 * (label // 2), expand=True)
        for number in range(num_files):
            width = int(min(photograph.size) * rng.uniform(0.5, 0.95))
            size = width, 3 * width // 4
            left, top = (
                rng.randint(0, length - own)
                for length, own in zip(photograph.size, size, strict=True)
            )
            part = photograph.crop((left, top, left + size[0], top + size[1]))
            part.resize((side, 3 * side // 4)).save(folder / f"{number}.jpg", quality=90)


def main() -> None:
    """Write the files that ``search_files`` reads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="of the class folders")
    write_images(parser.parse_args().root, AMOUNT.num_files, AMOUNT.file_side)
    Rows("images").add("JPEG files", AMOUNT.num_files * NUM_FILE_CLASSES, "files")


if __name__ == "__main__":
    main()
