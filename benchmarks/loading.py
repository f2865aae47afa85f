"""How fast one core reads training images of 224 px, beside the loaders that others use.

``python -m benchmarks.loading`` makes JPEG files of scikit-learn's two photos, 500x375 px and 12
megapixels, and lets each loader read all of them in turn, round after round: file, crop, mirror
image, collated batch. It prints images/s of CPU time, medians over the rounds, and what they are
over ours. The status is 1 where ours reads 500x375 px at less than .9 of the best of torchvision,
timm and torchvision.io, which needs the extra ``jpeg``, or 12 megapixels at less than .75 of
Pillow's draft to a fixed size, which decodes less than small crops need.

Our training commands keep the memory that they free (``--keep_memory`` measures so); where it goes
back to the system, as it does by default, each copy of a large photo costs as much again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

import numpy as np
import PIL
import torch
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images
from timm.data import create_transform
from timm.data.loader import fast_collate
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision import io
from torchvision.transforms import v2

from benchmarks.record import machine, record
from supernet.command.process import keep_freed_memory, run_command
from supernet.data.crops import RandomCrop
from supernet.data.images.image_reading import ImageReader
from supernet.data.images.kept_images import KeptReader
from supernet.data.pixels import in_pixels
from supernet.data.resumable import resumable
from supernet.data.stored_images import ImageFiles
from supernet.data_description import Preprocessing

SIDE = 224
TOLD = Preprocessing(256, SIDE, "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OURS, KEPT, BEFORE = "ours", "ours, --data.cache", "ours before"
OTHERS = ("torchvision", "timm, uint8", "torchvision.io, uint8")
DRAFT = "Pillow's draft before the crop"
LEAST_OF_BEST, LEAST_OF_DRAFT = 0.9, 0.75

Read = Callable[[], object]
"""Reads all files once, in batches."""


class Kind(NamedTuple):
    """Files to read."""

    name: str
    size: tuple[int, int]
    number: int
    noise: float
    """Standard deviation that a sensor adds to each pixel, of 255."""
    quality: int


KINDS = (
    Kind("500x375", (500, 375), 32, 0, 90),
    Kind("12 MP, smooth", (4000, 3000), 4, 0, 85),
    Kind("12 MP, noisy", (4000, 3000), 4, 6, 90),
)


def write_photos(folder: Path, kind: Kind) -> list[str]:
    """Files of a kind, the two photos in turn, each with noise of its own."""
    rng, paths = np.random.default_rng(0), []
    for number in range(kind.number):
        photo = load_sample_images().images[number % 2]
        image = Image.fromarray(photo).resize(kind.size, Image.Resampling.BICUBIC)
        if kind.noise:
            pixels = np.asarray(image) + rng.normal(0, kind.noise, (*kind.size[::-1], 3))
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        paths.append(f"{folder}/{kind.name}-{number}.jpg")
        image.save(paths[-1], quality=kind.quality)
    return paths


class Files(Dataset[Any]):
    """Files, read and changed by a function."""

    def __init__(self, paths: list[str], change: Callable[[str], object]) -> None:
        self.paths, self.change = paths, change

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[object, int]:
        return self.change(self.paths[index]), index


def steps(*more: torch.nn.Module) -> v2.Compose:
    """Crop and mirror image by torchvision, and more."""
    return v2.Compose([v2.RandomResizedCrop(SIDE), v2.RandomHorizontalFlip(), *more])


def normalised() -> v2.Compose:
    """Steps of a PIL image to floats, as torchvision's references have them."""
    to_floats = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    return steps(*to_floats, v2.Normalize(list(TOLD.mean), list(TOLD.std)))


def opened(path: str) -> Image.Image:
    """An image as torchvision's and timm's folders open it."""
    with Image.open(path) as image:
        return image.convert("RGB")


def copied(path: str) -> Image.Image:
    """An image as this project opened it before: turned, and made RGB, each a copy."""
    with Image.open(path) as image:
        turned = ImageOps.exif_transpose(image)
        return turned.convert("RGB")


def drafted(path: str) -> Image.Image:
    """An image decoded at twice the wanted size, whatever the crop: small crops are blurred."""
    with Image.open(path) as image:
        image.draft("RGB", (2 * SIDE, 2 * SIDE))
        return image.convert("RGB")


def readers(paths: list[str], batch: int) -> dict[str, Read]:
    """The loaders by name."""

    def reader(change: Callable[[str], object], collate: Any = default_collate) -> Read:
        loader = DataLoader(Files(paths, change), batch, shuffle=True, collate_fn=collate)
        return lambda: list(loader)

    plain, pixels = normalised(), steps(v2.PILToTensor())
    by_timm = create_transform(SIDE, is_training=True, use_prefetcher=True, color_jitter=0.0)
    tensors = steps()

    def by_io(path: str) -> Tensor:
        cropped: Tensor = tensors(io.decode_image(path, io.ImageReadMode.RGB))
        return cropped

    return {
        OURS: ours(paths, batch),
        KEPT: ours(paths, batch, keep=True),
        BEFORE: reader(lambda path: plain(copied(path))),
        "torchvision": reader(lambda path: plain(opened(path))),
        "timm, uint8": reader(lambda path: by_timm(opened(path)), fast_collate),
        "torchvision.io, uint8": reader(by_io),
        DRAFT: reader(lambda path: pixels(drafted(path))),
    }


def ours(paths: list[str], batch: int, keep: bool = False) -> Read:
    """What a run reads, seeds of each image included, from files or from what it has kept."""
    files = [(path, number) for number, path in enumerate(paths)]
    crop, reader = RandomCrop(SIDE, 0.08, 0.5), ImageReader()
    digests = {path: Path(path).stem for path in paths}
    kept = KeptReader(reader, digests, crop.whole, crop.kept_as)
    images = ImageFiles(files, kept if keep else reader, crop, TOLD)
    loader = resumable(DataLoader(images, batch), seed=0, view=in_pixels)
    return lambda: list(loader)


def measure(paths: list[str], rounds: int) -> dict[str, float]:
    """Images a second of CPU time by loader: medians over the rounds, the first not counted."""
    loaders = readers(paths, min(32, len(paths)))
    seconds: dict[str, list[float]] = {name: [] for name in loaders}
    for number in range(rounds + 1):
        names = [*loaders][number % len(loaders) :] + [*loaders][: number % len(loaders)]
        for name in names:
            start = time.process_time()
            loaders[name]()
            if number:
                seconds[name].append(time.process_time() - start)
    return {name: len(paths) / median(times) for name, times in seconds.items()}


def measure_kind(kind: Kind, folder: Path, options: argparse.Namespace) -> bool:
    """Print and record a kind of files; whether it is as fast as it should be."""
    paths = write_photos(folder, kind)
    kilobytes = fmean(Path(path).stat().st_size for path in paths) / 1e3
    found = measure(paths, options.rounds)
    best = found[OURS] / max(found[name] for name in OTHERS)
    before, kept = (found[OURS] / found[BEFORE], found[KEPT] / found[BEFORE])
    print(f"\n{kind.name}: {kind.number} files of {kilobytes:,.0f} kB, images/s of one core")
    for name, rate in found.items():
        print(f"{rate:8.1f}  {rate / found[OURS]:5.2f} of ours  {name}")
    print(f"ours is {best:.2f} of the best of {'; '.join(OTHERS)}")
    print(f"ours is {before:.2f} times before, with --data.cache {kept:.2f} times")
    config = {"kind": kind.name, "kilobytes": round(kilobytes), "side": SIDE, "decoder": decoder()}
    config |= {"rounds": options.rounds, "keep_memory": options.keep_memory}
    result = {
        **found,
        "of_best": best,
        "of_before": before,
        "kept_of_before": kept,
        "machine": machine(),
    }
    record("loading", config, options.seed, result)
    if kind.size[0] < 1000:
        return best >= LEAST_OF_BEST
    return found[OURS] >= LEAST_OF_DRAFT * found[DRAFT]


def decoder() -> str:
    """What decodes whole JPEG files here."""
    found = find_spec("simplejpeg") is not None
    return f"simplejpeg {version('simplejpeg')}" if found else f"Pillow {PIL.__version__}"


def main() -> None:
    """Print the machine and a table for each kind, and record them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="counted rounds over the files")
    parser.add_argument("--keep_memory", action="store_true", help="as our commands do")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.keep_memory:
        keep_freed_memory()
    warnings.filterwarnings("ignore", "The image decoding", DeprecationWarning)
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    print(f"# {machine()}, {decoder()}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MNASNET_CACHE"] = folder
        passed = [measure_kind(kind, Path(folder), options) for kind in KINDS]
    sys.exit(not all(passed))


if __name__ == "__main__":
    run_command(main)
