"""What a network that was tuned in a search is worth in int8, as its exported file would be."""

import copy
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from supernet.data.splits import Batch
from supernet.network.network import Network


def int8_accuracy(
    network: Network, training: Callable[[int], Iterable[Batch]], validation: Iterable[Batch]
) -> float:
    """Accuracy on the whole validation split after static quantization; takes some 10 seconds.

    Args:
        network: in evaluation mode, of any device, as batches are; it is left as it is.
        training: gives batches of as many images to calibrate it on.
        validation: batches of the split.
    """
    number = calibration_images()
    images = torch.cat([batch[0].cpu() for batch in training(number)])
    small = int8_network(copy.deepcopy(network).cpu(), images[:number])
    right, total = 0, 0
    for images, labels, *_ in validation:
        right += int((small(images.cpu())[0].argmax(1) == labels.cpu()).sum())
        total += len(labels)
    return right / total


def calibration_images() -> int:
    """Training images that a network is calibrated on."""
    # onnx and onnxruntime take a second to load and are needed for this alone.
    from supernet.latency.models.trained_graph import CALIBRATION_IMAGES

    return CALIBRATION_IMAGES


def int8_network(network: Network, images: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Logits (B, classes), alone in a tuple, of images (B, 3, R, R) by ONNX Runtime in int8.

    The quantizer is that of latency tables and of exported files. Ranges of features are those over
    ``images`` (N, 3, R, R).
    """
    from supernet.latency.models.trained_graph import (
        int8_graph,
        open_graph,
        program_of,
        write_graph,
    )

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        write_graph(program_of(network, images.shape[-1]), path, ["logits"])
        return open_graph(int8_graph(path, images).SerializeToString())
