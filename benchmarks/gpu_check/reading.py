"""Reading: how fast images come from JPEG files to the device, without any training."""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import torch

from benchmarks.gpu_check.machine import AMOUNT, DEVICE, GPU, synchronize
from benchmarks.gpu_check.rows import Rows
from supernet.data.feeding import num_bytes
from supernet.data.image_folder import ImageFolder
from supernet.data.run_data import RunData

ROWS = Rows("reading")
NUM_COPIES = 20


def run_data(root: Path) -> RunData:
    """The images as a search reads them."""
    data = ImageFolder(
        str(root),
        resolution=AMOUNT.resolution,
        batch_size=AMOUNT.run_batch,
        num_workers=AMOUNT.num_workers,
    )
    own = RunData(data, "search", 0)
    own.prepare_data()
    own.setup("fit")
    return own


def add_speed(data: RunData) -> None:
    """Images a second that worker processes read and the device has."""
    batches = data.endless_weights_batches()
    ahead = 2 * AMOUNT.num_workers
    for batch in itertools.islice(batches, ahead + 1):  # what was read while the workers started
        moved = data.moved(batch, DEVICE)
    synchronize()
    start = time.perf_counter()
    for batch in itertools.islice(batches, AMOUNT.num_read):
        moved = data.moved(batch, DEVICE)
    synchronize()
    seconds = time.perf_counter() - start
    note = f"{AMOUNT.num_workers} worker processes, {AMOUNT.file_side} px files"
    ROWS.add(
        "images from files to the device", AMOUNT.num_read * len(moved[0]) / seconds, "1/s", note
    )
    ROWS.add("bytes of an image on the way", num_bytes(batch) / len(batch[0]), "B")


def copies_per_second(tensor: torch.Tensor) -> float:
    """GB a second from host memory to the device."""
    tensor.to(DEVICE, non_blocking=True)
    synchronize()
    start = time.perf_counter()
    for _ in range(NUM_COPIES):
        tensor.to(DEVICE, non_blocking=True)
    synchronize()
    return NUM_COPIES * tensor.nbytes / (time.perf_counter() - start) / 1e9


def main() -> None:
    """Read files, then copy a batch from ordinary and from pinned memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="of the class folders")
    data = run_data(parser.parse_args().root)
    add_speed(data)
    side = AMOUNT.resolution
    pixels = torch.zeros(AMOUNT.run_batch, 3, side, side, dtype=torch.uint8)
    if GPU:
        ROWS.add("copy of a batch, ordinary memory", copies_per_second(pixels), "GB/s")
        ROWS.add("copy of a batch, pinned memory", copies_per_second(pixels.pin_memory()), "GB/s")


if __name__ == "__main__":
    main()
