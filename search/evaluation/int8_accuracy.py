"""What a network that was tuned in a search is worth in int8, as its exported file would be."""

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim

from supernet.data.run_data import RunData
from supernet.network.network import Network

CALIBRATION_IMAGES = 256
"""Training images over which ranges of features are measured, as many as an export takes."""
CALIBRATION_BATCH = 32
MAX_BATCH = 4096
"""Validation images at once, at most."""
OPSET = 18
"""What torch's exporter speaks."""


def int8_accuracy(network: Network, data: RunData) -> float:
    """Accuracy on the whole validation split after static quantization; takes some 10 seconds.

    Args:
        network: in evaluation mode, of any device; it is left as it is.
        data: of the search, whose training images it is calibrated on.
    """
    cpu = torch.device("cpu")
    images = torch.cat(
        [data.moved(batch, cpu)[0] for batch in data.weights_batches(CALIBRATION_IMAGES)]
    )
    small = int8_network(copy.deepcopy(network).to(cpu), images[:CALIBRATION_IMAGES])
    right, total = 0, 0
    for batch in data.val_batches():
        images, labels = data.moved(batch, cpu)
        right += int((small(images).argmax(1) == labels).sum())
        total += len(labels)
    return right / total


def int8_network(network: Network, images: Tensor) -> Callable[[Tensor], Tensor]:
    """Logits (B, classes) of images (B, 3, R, R) by ONNX Runtime in int8.

    The quantizer is that of latency tables and of exported files. Ranges of features are those over
    ``images`` (N, 3, R, R).
    """
    # They take a second to load and are needed for this alone.
    import onnx
    import onnxruntime

    from supernet.latency.models.onnx_int8 import measured_ranges, quantized

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            network,
            (images[:2],),
            path,
            dynamic_shapes=({0: Dim("batch", min=1, max=MAX_BATCH)},),
            opset_version=OPSET,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
        batches = (batch.numpy() for batch in images.split(CALIBRATION_BATCH))
        model = quantized(onnx.load(path), measured_ranges(path, batches))
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=providers)
    name = session.get_inputs()[0].name
    return lambda batch: torch.from_numpy(session.run(None, {name: batch.numpy()})[0])
