"""Pixels: images in 8 bits as far as the device, where they are normalised.

They are a quarter of the bytes that worker processes hand over, and that a GPU is sent. A data set
of normalised images offers ``in_pixels()``, the same data set of their pixels, where it has them;
all others stay as they are.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from supernet.data_description import Preprocessing


def in_pixels(dataset: Dataset[Any]) -> Dataset[Any]:
    """The data set with images in uint8, or itself where it does not offer them."""
    if isinstance(dataset, Subset):
        inner = in_pixels(dataset.dataset)
        return dataset if inner is dataset.dataset else Subset(inner, dataset.indices)
    give = getattr(dataset, "in_pixels", None)
    pixels: Dataset[Any] = give() if give else dataset
    return pixels


def is_pixels(images: object) -> bool:
    """Whether images are pixels, still to be normalised."""
    return isinstance(images, Tensor) and images.dtype == torch.uint8


def normalised(images: Tensor, told: Preprocessing) -> Tensor:
    """Network inputs in float32 of pixels (..., 3, R, R), on their device; nothing waits for it."""
    mean, std = _constants(told.mean, told.std, images.device)
    # The order of torchvision's ToDtype and Normalize, to the last bit.
    return images.to(torch.float32).mul_(1 / 255).sub_(mean).div_(std)


@cache
def _constants(
    mean: tuple[float, float, float], std: tuple[float, float, float], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Means and deviations (3, 1, 1), sent to a device once, as sending waits for it."""
    mean_there, std_there = (
        torch.tensor(values, device=device).view(3, 1, 1) for values in (mean, std)
    )
    return mean_there, std_there


def normalised_batch(batch: Any, told: Preprocessing | None) -> Any:
    """A batch (images, ...) with its images normalised, where they are pixels.

    Args:
        batch: images (B, 3, R, R) and what belongs to them, on one device.
        told: how they are normalised; None leaves them as they are, as do batches of lists.
    """
    if told is None or not isinstance(batch, list | tuple) or not is_pixels(batch[0]):
        return batch
    return type(batch)([normalised(batch[0], told), *batch[1:]])
