"""ExecuTorch in int8: a program that computes what the quantized network computes."""

import pytest
import torch

from retrain.export.formats.executorch_program import (
    open_executorch,
    quantize_executorch,
    read_executorch_metadata,
)
from retrain.export.formats.shipment import Shipment
from supernet.network.network import Network
from supernet.space.spec import NetSpec
from supernet.space.stage import Stage

pytest.importorskip("executorch")
SPEC = NetSpec(8, 1, (Stage("mbconv", 3, 3, 0.25, "pool", 12, 2, 2),), 16, 10, 8)
TOLD = {"input_shape": ["batch", 3, 8, 8], "precision": "int8"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@torch.no_grad()
def test_a_program_of_int8_computes_and_says_what_the_network_does(tmp_path):
    torch.manual_seed(0)
    network = Network(SPEC)
    images = torch.randn(64, 3, 8, 8)
    for _ in range(30):  # running statistics that are those of the images
        network(images)
    network.eval()
    small = quantize_executorch(Shipment(network, TOLD), tmp_path / "unused", images)
    (logits,) = small.run(images)
    floats = network(images)
    assert 0 < (logits - floats).norm() < 0.1 * floats.norm()

    small.write({"precision": "int8"}, tmp_path / "network.int8.pte")
    (computed,) = open_executorch(tmp_path / "network.int8.pte")(images[:8])
    assert (computed - logits[:8]).norm() < 0.05 * logits[:8].norm()
    assert read_executorch_metadata(tmp_path / "network.int8.pte") == {"precision": "int8"}
