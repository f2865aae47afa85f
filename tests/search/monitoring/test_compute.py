"""What the supernet computes on a path, against torch's own counter."""

import random

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from search.monitoring.compute import path_macs
from search.paths import warmup_path
from supernet.cost.counts import count
from supernet.network.supernet import SuperNet
from supernet.space.mnasnet import MnasSpace

SPACE = MnasSpace(
    base_filters=(8, 16),
    base_layers=(1, 2),
    strides=(1, 2),
    stem=8,
    stem_stride=1,
    head=16,
    resolution=8,
    classes=10,
)


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("stream", [0.0, 0.3])
def test_the_macs_of_a_path_are_those_that_torch_counts(probability, stream):
    supernet = SuperNet(SPACE)
    for seed in range(6):
        rng = random.Random(seed)
        path = warmup_path(SPACE.sample(rng), SPACE, probability, rng)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            supernet(torch.randn(3, 3, 8, 8), path, stream)
        assert path_macs(SPACE, path, stream > 0) == counter.get_total_flops() // 2 // 3
        if not probability and not stream:
            assert path_macs(SPACE, path, False) == count(SPACE.spec(path)).macs
