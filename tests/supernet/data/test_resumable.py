"""Resumable, seeded and sharded loaders, without a Trainer."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    TensorDataset,
    WeightedRandomSampler,
)

from supernet.data.digits import Digits
from supernet.data.resumable import (
    SeededDataset,
    StepBatchSampler,
    StepLoader,
    hold_out,
    resumable,
    sharded,
)
from supernet.errors import UserError


class Noisy(Dataset):
    """Sample i is i and one number from each global generator; its label is i modulo 2."""

    def __init__(self, size: int = 40) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        noise = [torch.rand(()).item(), np.random.rand(), random.random()]  # noqa: NPY002
        return torch.tensor([index, *noise]), index % 2


def noisy_loader(size: int = 40, num_workers: int = 0) -> DataLoader:
    return DataLoader(Noisy(size), batch_size=4, shuffle=True, num_workers=num_workers)


def images_of(loader: Any) -> list[list[float]]:
    return [images.flatten().tolist() for images, _ in loader]


def indices_of(batches: Any) -> list[list[int]]:
    return [[index for index, _ in batch] for batch in batches]


# StepBatchSampler


def test_an_epoch_visits_each_sample_once_and_drops_the_rest() -> None:
    batches = indices_of(StepBatchSampler(23, 5, seed=0))
    assert [len(batch) for batch in batches] == [5, 5, 5, 5]
    assert max(Counter(chain(*batches)).values()) == 1


def test_batches_depend_on_seed_and_epoch() -> None:
    assert list(StepBatchSampler(20, 5, seed=1)) == list(StepBatchSampler(20, 5, seed=1))
    first, other, next_epoch = (
        list(StepBatchSampler(20, 5, seed=seed, start_step=step))
        for seed, step in ((1, 0), (2, 0), (1, 4))
    )
    assert indices_of(first) != indices_of(other)
    assert indices_of(first) != indices_of(next_epoch)
    assert dict(chain(*first)) != dict(chain(*next_epoch))


@pytest.mark.parametrize("step", range(9))
def test_a_sampler_that_starts_late_yields_the_rest_of_its_epoch(step: int) -> None:
    epoch = list(StepBatchSampler(20, 5, seed=0, start_step=step - step % 4))
    assert list(StepBatchSampler(20, 5, seed=0, start_step=step)) == epoch[step % 4 :]


def test_ranks_are_disjoint_and_together_one_large_batch() -> None:
    whole = list(StepBatchSampler(50, 12, seed=0))
    ranks = [list(StepBatchSampler(50, 4, seed=0, rank=r, world_size=3)) for r in range(3)]
    assert [len(rank) for rank in ranks] == [4, 4, 4]
    for step, batch in enumerate(whole):
        assert sorted(chain(*(rank[step] for rank in ranks))) == sorted(batch)


def test_a_limit_shortens_every_epoch() -> None:
    full = list(StepBatchSampler(20, 5, seed=0))
    assert list(StepBatchSampler(20, 5, seed=0, limit=3)) == full[:3]
    assert list(StepBatchSampler(20, 5, seed=0, limit=0.5)) == full[:2]
    next_epoch = list(StepBatchSampler(20, 5, seed=0, start_step=4))
    assert list(StepBatchSampler(20, 5, seed=0, start_step=3, limit=3)) == next_epoch[:3]


def test_fewer_images_than_one_global_batch_are_refused() -> None:
    with pytest.raises(UserError, match=r"^15 images are fewer than one batch of 16 \(4 x 4 pr"):
        StepBatchSampler(15, 4, seed=0, world_size=4)


# SeededDataset and StepLoader


def test_a_seeded_sample_depends_on_its_seed_alone() -> None:
    dataset = SeededDataset(Noisy())
    batch = dataset.__getitems__([(3, 30), (4, 40)])
    assert torch.equal(dataset[4, 40][0], batch[1][0])
    different = dataset[4, 41][0] != batch[1][0]
    assert different.tolist() == [False, True, True, True]


def test_seeding_leaves_the_global_generators_as_they_were() -> None:
    def draw() -> list[float]:
        return Noisy()[0][0].tolist()

    def seed_all() -> None:
        torch.manual_seed(5)
        np.random.seed(5)  # noqa: NPY002
        random.seed(5)

    seed_all()
    expected = [draw(), draw()]
    seed_all()
    assert draw() == expected[0]
    list(resumable(noisy_loader(), seed=0))
    assert draw() == expected[1]


@pytest.mark.parametrize("make", [noisy_loader, lambda **kw: Digits(**kw).weights_dataloader()])
def test_batches_do_not_depend_on_the_number_of_workers(make: Any) -> None:
    alone, workers = (
        images_of(resumable(make(num_workers=count), seed=0, limit=3)) for count in (0, 2)
    )
    assert alone == workers
    assert len(alone) == 3


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_goes_on_where_it_was_left_and_then_to_the_next_epoch(num_workers: int) -> None:
    def loader(step: int = 0) -> StepLoader:
        return resumable(noisy_loader(24, num_workers), seed=0, start_step=step)

    whole = loader()
    first, second = images_of(whole), images_of(whole)
    assert first != second
    left = loader()
    iterator = iter(left)
    taken = [next(iterator)[0].flatten().tolist() for _ in range(2)]
    del iterator  # its workers have fetched further batches, which nobody consumed
    assert taken + images_of(left) == first
    assert images_of(left) == second
    assert images_of(loader(step=8)) == second[2:]


def test_a_rebuilt_loader_keeps_what_does_not_concern_the_order() -> None:
    def collate(samples: list[Any]) -> int:
        return len(samples)

    loader = DataLoader(Noisy(), batch_size=4, collate_fn=collate)
    assert list(resumable(loader, seed=0)) == [4] * 10
    assert list(resumable(loader, seed=0, batch_size=15)) == [15] * 2
    assert list(sharded(loader, rank=0, world_size=4)) == [4, 4, 2]


def test_a_loader_refuses_to_resume_another_order() -> None:
    state = resumable(noisy_loader(), seed=0).state_dict()
    resumable(noisy_loader(), seed=0).load_state_dict(state)
    resumable(noisy_loader(), seed=0, world_size=2, batch_size=2).load_state_dict(state)
    with pytest.raises(UserError, match="had seed 0, now it is 1: resume it unchanged"):
        resumable(noisy_loader(), seed=1).load_state_dict(state)
    with pytest.raises(UserError, match="number of images 40, now it is 44"):
        resumable(noisy_loader(44), seed=0).load_state_dict(state)


class Stream(IterableDataset):
    """A data set without an order of its own."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(8))


@pytest.mark.parametrize(
    ("loader", "reason"),
    [
        (DataLoader(Stream(), batch_size=2), "Stream is an IterableDataset"),
        (DataLoader(Noisy(), batch_size=None), "own sampler or batch_sampler"),
        (DataLoader(Noisy(), sampler=WeightedRandomSampler([1.0] * 40, 40)), "own sampler"),
        ([noisy_loader()], "one DataLoader, got list"),
    ],
)
def test_a_loader_whose_order_cannot_be_replaced_is_refused(loader: Any, reason: str) -> None:
    for rebuild in (
        lambda: resumable(loader, seed=0, batch_size=4),
        lambda: sharded(loader, 0, 1),
        lambda: hold_out(loader),
    ):
        with pytest.raises(UserError, match=reason):
            rebuild()


# Evaluation and hold-out


@pytest.mark.parametrize("world_size", [1, 3])
def test_shards_cover_every_sample_once_in_order(world_size: int) -> None:
    shards = [sharded(noisy_loader(10), rank, world_size) for rank in range(world_size)]
    seen = [[int(i) for images, _ in shard for i in images[:, 0]] for shard in shards]
    assert seen == [list(range(10))[rank::world_size] for rank in range(world_size)]


@pytest.mark.parametrize("rank", [0, 10])
def test_fewer_images_than_processes_are_refused_on_each(rank: int) -> None:
    with pytest.raises(UserError, match="10 images to evaluate on are fewer than 11 processes"):
        sharded(noisy_loader(10), rank, 11)


def held_out_indices(loader: DataLoader) -> list[set[int]]:
    parts = hold_out(loader, share=0.2, seed=0)
    return [{int(i) for images, _ in part for i in images[:, 0]} for part in parts]


def test_holding_out_splits_each_class_of_the_training_images() -> None:
    weights, reward = held_out_indices(noisy_loader())
    assert weights | reward == set(range(40))
    assert not weights & reward
    assert Counter(index % 2 for index in reward) == {0: 4, 1: 4}


@pytest.mark.parametrize("name", ["targets", "labels"])
def test_holding_out_reads_labels_without_opening_images(name: str) -> None:
    class Closed(Noisy):
        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            raise AssertionError("opened")

    dataset = Closed()
    setattr(dataset, name, torch.arange(40) % 2)
    subset = torch.utils.data.Subset(dataset, range(0, 40, 4))
    weights, reward = hold_out(DataLoader(subset, batch_size=2), share=0.2, seed=0)
    assert (len(weights.dataset), len(reward.dataset)) == (8, 2)


def test_holding_out_without_labels_says_what_to_do() -> None:
    unlabelled = DataLoader(TensorDataset(torch.zeros(8, 3)), batch_size=2)
    with pytest.raises(UserError, match=r"TensorDataset has no integer labels.*reward_dataloader"):
        hold_out(unlabelled)
