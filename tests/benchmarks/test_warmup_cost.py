"""benchmarks.warmup_cost: warm-up steps against uniform ones."""

import argparse

import pytest
import torch

from benchmarks.warmup_cost import Steps, draw_pairs, measured, ratio_of_means, ratio_of_peaks
from supernet.space.mnasnet import MnasSpace

SPACE = MnasSpace(width=0.1, head=16, resolution=8, stem_stride=1, classes=10)


def test_ratios_are_of_means_and_of_the_most():
    pairs = [(2, 1), (4, 1), (6, 4)]
    assert ratio_of_means(float, pairs) == pytest.approx(2)
    assert ratio_of_peaks(float, pairs) == pytest.approx(1.5)


def test_paths_compared_with_themselves_cost_the_same():
    pairs = draw_pairs(SPACE, 4, 0, [1.0, 0.0])
    assert pairs[0][0] != pairs[0][1]
    steps = Steps(SPACE, 2, 0)
    assert ratio_of_means(steps.kept_bytes, [(path, path) for path, _ in pairs]) == 1


def test_the_memory_of_a_path_grows_with_its_images():
    (path, _), *_ = draw_pairs(SPACE, 1, 0, [1.0])
    small, large = (Steps(SPACE, batch, 0).kept_bytes(path) for batch in (2, 8))
    assert 2.5 < large / small <= 4  # statistics of batch norms stay


def test_a_warmup_costs_at_most_two_uniform_steps():
    options = argparse.Namespace(pairs=4, seed=0)
    ratios = measured(Steps(SPACE, 2, 0), options)
    torch.testing.assert_close(ratios["macs"], 1.5, atol=0.3, rtol=0)
    assert ratios["macs"] < ratios["macs_at_start"] < 2.3
