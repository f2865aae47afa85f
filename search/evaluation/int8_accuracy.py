"""What a network that was tuned in a search is worth in int8, as its exported file would be."""

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from supernet.data.run_data import RunData
from supernet.network.network import Network


def int8_accuracy(network: Network, data: RunData) -> float:
    """Accuracy on the whole validation split after static quantization; takes some 10 seconds.

    Args:
        network: in evaluation mode, of any device; it is left as it is.
        data: of the search, whose training images it is calibrated on.
    """
    # onnx and onnxruntime take a second to load and are needed for this alone.
    from supernet.latency.models.trained_graph import CALIBRATION_IMAGES

    cpu = torch.device("cpu")
    images = torch.cat(
        [data.moved(batch, cpu)[0] for batch in data.weights_batches(CALIBRATION_IMAGES)]
    )
    small = int8_network(copy.deepcopy(network).to(cpu), images[:CALIBRATION_IMAGES])
    right, total = 0, 0
    for batch in data.val_batches():
        images, labels = data.moved(batch, cpu)
        right += int((small(images)[0].argmax(1) == labels).sum())
        total += len(labels)
    return right / total


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
