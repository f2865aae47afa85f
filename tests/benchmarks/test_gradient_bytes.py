"""benchmarks.gradient_bytes: what a path trains, what several do, and what is exchanged."""

import torch

from benchmarks.gradient_bytes import FLOAT_BYTES, measured, paths_of_steps
from search.gradients.slices import PathSlices
from supernet.network.supernet import SuperNet
from supernet.space.mnasnet import MnasSpace

SPACE = MnasSpace(width=0.1, head=16, resolution=8, stem_stride=1, classes=10)


def test_ranks_exchange_more_than_one_trains_and_less_than_all_weights():
    supernet = SuperNet(SPACE)
    slices = PathSlices(supernet)
    found = measured(slices, list(paths_of_steps(SPACE, 3, 0.0, 2)), stream=False)
    assert found["own_bytes"] < found["union_bytes"] <= found["exchanged_bytes"]
    assert found["exchanged_bytes"] < FLOAT_BYTES * sum(p.numel() for p in supernet.parameters())


def test_a_path_trains_as_many_weights_as_its_network_has():
    with torch.device("meta"):
        slices = PathSlices(SuperNet(SPACE))
    ((path,),) = paths_of_steps(SPACE, 1, 0.0, 1)
    network = SuperNet(SPACE).extract(path)
    assert slices.num_trained([path], stream=False) >= 0.9 * sum(
        one.numel() for one in network.parameters()
    )
