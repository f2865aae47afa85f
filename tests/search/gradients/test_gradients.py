"""Gradients of a search on several ranks: those of DDP, of the slices that paths train alone."""

import copy
import itertools
import random
from datetime import timedelta

import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from search.gradients.reduction import GradientReduction
from search.gradients.slices import PathSlices, disjoint, num_weights
from search.paths import warmup_path
from supernet.network.supernet import SuperNet
from supernet.space.mnasnet import MnasSpace

SPACE = MnasSpace(
    base_filters=(16, 24),
    base_layers=(1, 2),
    strides=(1, 2),
    stem=16,
    stem_stride=1,
    head=32,
    resolution=8,
    classes=10,
)
WARMUPS = (1.0, 0.5, 0.0)
"""Chances of warm-up values; at 0 paths are networks, as a policy proposes them."""


def paths_of(step, ranks, warmup):
    """A path for each rank."""
    draws = [random.Random(100 * step + rank) for rank in range(ranks)]
    return [warmup_path(SPACE.sample(one), SPACE, warmup, one) for one in draws]


def backward(network, path, stream, seed):
    """Gradients of a batch of its own."""
    draws = torch.Generator().manual_seed(seed)
    images = torch.randn(4, 3, 8, 8, generator=draws)
    labels = torch.randint(10, (4,), generator=draws)
    functional.cross_entropy(network(images, path, stream), labels).backward()


# --- boxes ----------------------------------------------------------------------------------------


def cells(boxes):
    """Places that boxes cover, each as often as it is covered."""
    return sorted(cell for box in boxes for cell in itertools.product(*(range(*e) for e in box)))


def test_boxes_without_overlap_cover_what_others_do():
    draws = random.Random(0)
    for _ in range(200):
        boxes = [
            tuple((low, draws.randint(low + 1, 6)) for low in draws.choices(range(3), k=3))
            for _ in range(draws.randint(1, 4))
        ]
        parts = disjoint(boxes)
        assert cells(parts) == sorted(set(cells(boxes)))
        assert num_weights(parts) == len(cells(parts))


def test_kernels_within_a_kernel_are_one_box():
    assert disjoint([((0, 4), (1, 4), (1, 4)), ((0, 4), (0, 5), (0, 5))]) == [
        ((0, 4), (0, 5), (0, 5))
    ]


@pytest.mark.parametrize("warmup", WARMUPS)
@pytest.mark.parametrize("stream", [0.0, 0.5])
def test_slices_are_those_that_have_a_gradient(warmup, stream):
    torch.manual_seed(0)
    supernet = SuperNet(SPACE)
    slices = PathSlices(supernet)
    for step in range(2):
        (path,) = paths_of(step, 1, warmup)
        supernet.zero_grad()
        backward(supernet, path, stream, step)
        boxes = slices.covering([path], stream > 0)
        parameters = dict(enumerate(supernet.parameters()))
        assert boxes.keys() == {n for n, one in parameters.items() if one.grad is not None}
        for place, inside in boxes.items():
            rest = parameters[place].grad.clone()
            for box in inside:
                rest[tuple(slice(*edges) for edges in box)] = 0
            assert not rest.any()


def test_what_is_exchanged_is_hardly_more_than_what_is_trained():
    space = MnasSpace()
    with torch.device("meta"):
        slices = PathSlices(SuperNet(space))
    draws = random.Random(0)
    for ranks in (1, 2, 4, 8):
        paths = [space.sample(draws) for _ in range(ranks)]
        exchanged = sum(map(num_weights, slices.covering(paths, False).values()))
        assert exchanged <= 1.1 * slices.num_trained(paths, False)


# --- ranks ----------------------------------------------------------------------------------------


def compare(rank, ranks, store):
    """Compare all reductions in steps of all kinds, on one of several ranks."""
    torch.set_num_threads(1)
    place = {"init_method": f"file://{store}", "rank": rank, "world_size": ranks}
    distributed.init_process_group("gloo", timeout=timedelta(seconds=60), **place)
    torch.manual_seed(0)
    ours = SuperNet(SPACE).to(memory_format=torch.channels_last)
    theirs = DistributedDataParallel(copy.deepcopy(ours), find_unused_parameters=True)
    exact, rounded = GradientReduction(ours), GradientReduction(ours, compressed=True)
    # Numbers that are summed in another order differ in the last bit.
    tolerance = 0 if ranks == 2 else 2**-21
    for step, (warmup, stream) in enumerate(itertools.product(WARMUPS, (0.5, 0.0))):
        paths = paths_of(step, ranks, warmup)
        for network in (ours, theirs):
            network.zero_grad(set_to_none=True)
            backward(network, paths[rank], stream, seed=1000 + 10 * step + rank)
        own = [None if one.grad is None else one.grad.clone() for one in ours.parameters()]
        exact(paths, stream > 0)
        check(ours, theirs.module, tolerance)
        for parameter, gradient in zip(ours.parameters(), own, strict=True):
            parameter.grad = gradient
        rounded(paths, stream > 0)
        check(ours, theirs.module, 2**-5)  # parts may be larger than their sum
    train_both(rank, ranks, exact, ours)
    distributed.destroy_process_group()


def train_both(rank, ranks, reduce, together):
    """Train 20 steps on several ranks, and as many on one that accumulates what they have seen."""
    alone = copy.deepcopy(together)
    optimizers = [torch.optim.SGD(one.parameters(), lr=0.01) for one in (together, alone)]
    for step in range(20):
        paths = paths_of(step, ranks, 0.5 if step < 10 else 0.0)
        seeds = [10 * step + number for number in range(ranks)]
        for network in (together, alone):
            network.zero_grad(set_to_none=True)
        backward(together, paths[rank], 0.5, seeds[rank])
        reduce(paths, stream=True)
        for path, seed in zip(paths, seeds, strict=True):
            backward(alone, path, 0.5, seed)
        for parameter in alone.parameters():
            if parameter.grad is not None:
                parameter.grad /= ranks
        for optimizer in optimizers:
            optimizer.step()
    for mine, one in zip(together.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(mine, one, rtol=1e-4, atol=1e-5)


def check(ours, theirs, tolerance):
    """Each gradient is DDP's, also where there is none."""
    for mine, one in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert (mine.grad is None) == (one.grad is None)
        if mine.grad is not None:
            largest = one.grad.abs().max().item()
            torch.testing.assert_close(
                mine.grad, one.grad, rtol=tolerance, atol=tolerance * largest
            )


def run_ranks(ranks, folder):
    arguments = (ranks, folder / "store")
    multiprocessing.start_processes(compare, arguments, nprocs=ranks, start_method="fork")


def test_two_ranks_have_the_gradients_of_ddp_to_the_last_bit_or_rounded(tmp_path):
    run_ranks(2, tmp_path)


@pytest.mark.slow
def test_three_ranks_have_the_gradients_of_ddp(tmp_path):
    run_ranks(3, tmp_path)
