"""int8 files beside those of floats: calibrated on training images, judged on test images.

Static quantization (Jacob et al. 2018, "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", section 2), by the quantizer of each runtime.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from retrain.export.formats.metadata import Metadata
from retrain.export.formats.shipment import Runner
from supernet.data.resumable import num_images, resumable
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.latency.models.trained_graph import CALIBRATION_IMAGES

Method = Literal["int8", "qat"]
"""Quantization after training, or with a training of its own that knows of it."""
ACCURACY_LOSS: dict[Method, float] = {"int8": 1.0, "qat": 0.5}
"""Points of test accuracy that a file may lose by default."""
LEAST_IMAGES = 32
"""Images below which the ranges of features are chance."""
BATCH_SIZE = 64
MAX_RELATIVE_DIFFERENCE = 0.1
"""Of logits, over their length (L2): some 0.03 in trained networks, 0.1 in those badly folded."""
MIN_AGREEMENT = 0.95
"""Share of images whose best class is that of floats."""
MAX_DIFFERENCE = 0.3
"""Largest difference of one logit, over the largest logit."""


@dataclass(frozen=True)
class Quantization:
    """Settings of int8 files.

    Raises:
        UserError: naming the option, its value and the limit.
    """

    calibration_images: int = CALIBRATION_IMAGES
    """Training images, augmented as in training, over which ranges of features are measured."""
    max_accuracy_loss: float | None = None
    """Points (hundredths) of test accuracy that a file may lose; by default its method's."""
    method: Method = "int8"

    def __post_init__(self) -> None:
        if self.calibration_images < LEAST_IMAGES:
            raise UserError(
                f"--calibration_images is {self.calibration_images}, it must be at least"
                f" {LEAST_IMAGES}"
            )
        if not 0 <= self.allowed_loss <= 100:
            raise UserError(
                f"--max_accuracy_loss is {self.allowed_loss:g} points, it must be between 0 and 100"
            )

    @property
    def allowed_loss(self) -> float:
        """Points of test accuracy that a file may lose."""
        given = self.max_accuracy_loss
        return ACCURACY_LOSS[self.method] if given is None else given


def calibration_images(data: RunData, number: int) -> Tensor:
    """Network inputs (N, 3, R, R) of the training split, always the same, at most ``number``.

    Raises:
        UserError: when the data hold too few to calibrate on.
    """
    data.inner.setup("fit")
    loader = data.inner.train_dataloader()
    held = num_images(loader.dataset)
    if held < LEAST_IMAGES:
        raise UserError(
            f"--quantize needs at least {LEAST_IMAGES} training images to calibrate on, the data"
            f" have {held}: add images, or leave --quantize out"
        )
    batch = resumable(loader, seed=0, batch_size=min(number, held)).peek()
    images: Tensor = data.moved(batch, torch.device("cpu"))[0]
    return images


def _test_batches(data: RunData) -> Iterator[tuple[Tensor, Tensor]]:
    """All test images (B, 3, R, R) with their classes (B,)."""
    data.inner.setup("test")
    for batch in data.test_dataloader():
        images, labels = data.moved(batch, torch.device("cpu"))
        yield images, labels


@torch.no_grad()
def judged_accuracy(network: nn.Module, quantized: Runner, data: RunData) -> Metadata:
    """Accuracy of a network and of its int8 form on the same images.

    Returns:
        ``split``, ``images`` (their number), ``accuracy`` (of int8), ``fp32_accuracy`` and
        ``points_lost`` (hundredths).
    """
    right, floats_right, total = 0, 0, 0
    for images, labels in _test_batches(data):
        right += int((quantized(images)[0].argmax(1) == labels).sum())
        floats_right += int((network(images).argmax(1) == labels).sum())
        total += len(labels)
    return {
        "split": "test",
        "images": total,
        "accuracy": right / total,
        "fp32_accuracy": floats_right / total,
        "points_lost": 100 * (floats_right - right) / total,
    }


@torch.no_grad()
def compare_quantized(network: nn.Module, run: Runner, images: Tensor) -> dict[str, Any]:
    """Logits of an int8 file beside those of floats.

    Returns:
        ``images``, ``relative_difference`` (L2), ``max_difference`` (of one logit), ``agreement``
        (share of images with the same best class) and ``failure``: why the file must not ship.
    """
    batches = images.split(BATCH_SIZE)
    found = torch.cat([run(batch)[0] for batch in batches])
    expected = torch.cat([network(batch) for batch in batches])
    if not (found.isfinite().all() and expected.isfinite().all()):
        return {"failure": "logits are not finite"}
    difference = (found - expected).abs().max().item()
    relative = ((found - expected).norm() / expected.norm()).item()
    agreement = (found.argmax(1) == expected.argmax(1)).float().mean().item()
    most = MAX_DIFFERENCE * expected.abs().max().item()
    passed = relative <= MAX_RELATIVE_DIFFERENCE and difference <= most
    failure = (
        f"logits differ by {relative:.1%} of their length (allowed {MAX_RELATIVE_DIFFERENCE:.0%}),"
        f" one by {difference:.2g} (allowed {most:.2g}), {agreement:.1%} of images keep their class"
        f" (at least {MIN_AGREEMENT:.0%})"
    )
    return {
        "images": len(images),
        "relative_difference": relative,
        "max_difference": difference,
        "agreement": agreement,
        "failure": "" if passed and agreement >= MIN_AGREEMENT else failure,
    }


def accuracy_failure(judged: Metadata, settings: Quantization) -> str:
    """Why a file has lost too much accuracy to ship, or empty."""
    lost, allowed = judged["points_lost"], settings.allowed_loss
    if lost <= allowed or math.isclose(lost, allowed):
        return ""
    return (
        f"test accuracy is {judged['accuracy']:.4f}, {lost:.2f} points below"
        f" {judged['fp32_accuracy']:.4f} of floats (allowed {allowed:g}): give"
        " --max_accuracy_loss if that is worth it"
    )
