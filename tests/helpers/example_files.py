"""Files that examples in docstrings read, as a user would have them."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

OLD = Path(__file__).parents[1] / "samples" / "fa87f1f"
SIDE, PER_CLASS = 40, 12
"""Of the photos, and how many of each kind."""


def make_files(folder: Path) -> None:
    """What a search has found, the latency table that predicted it, and photos of two kinds."""
    for name in ("arch.json", "samples.csv"):
        shutil.copy(OLD / "table" / name, folder)
    shutil.copy(OLD / "table.json", folder / "phone.json")
    draws = np.random.default_rng(0)
    for kind in ("cats", "dogs"):
        (folder / "photos" / kind).mkdir(parents=True)
        for number in range(PER_CLASS):
            pixels = draws.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / kind / f"{number}.png")
