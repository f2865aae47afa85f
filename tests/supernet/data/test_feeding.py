"""Feeding: a training that waits for images says so once, and shared memory is looked at before."""

import re
import shutil
from collections import namedtuple
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from supernet.data import feeding
from supernet.data.feeding import Feeding, check_shared_memory, num_bytes
from supernet.data.resumable import resumable
from supernet.errors import UserError


class Clock:
    """Time that passes while batches are read and used."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cores: int = 16) -> None:
        self.now = 0.0
        monkeypatch.setattr(feeding, "time", SimpleNamespace(perf_counter=lambda: self.now))
        monkeypatch.setattr(feeding, "num_cores", lambda: cores)

    def train(self, fed: Feeding, read: float, use: float, steps: int = 400) -> None:
        def batches() -> Iterator[int]:
            for number in range(steps):
                self.now += read
                yield number

        found = []
        for number in fed.timed(batches()):
            self.now += use
            found.append(number)
        assert found == list(range(steps))


def test_a_training_that_waits_says_what_it_asks_for_and_gets(monkeypatch, capsys: Any) -> None:
    clock, fed = Clock(monkeypatch), Feeding(64, 2)
    clock.train(fed, read=0.3, use=0.1)
    assert capsys.readouterr().out == (
        "note: the training could take 640 images/s, but 2 worker processes read 160: give"
        " --data.num_workers 8 (docs/performance.md)\n"
    )
    clock.train(fed, read=0.3, use=0.1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("read", [0.0, 0.02])
def test_a_training_that_hardly_waits_says_nothing(monkeypatch, capsys: Any, read: float) -> None:
    Clock(monkeypatch).train(Feeding(64, 2), read, use=0.1)
    assert capsys.readouterr().out == ""


def test_what_is_short_says_nothing(monkeypatch, capsys: Any) -> None:
    """The first batches wait for processes that start."""
    clock, fed = Clock(monkeypatch), Feeding(64, 2)
    for _ in range(20):
        clock.train(fed, read=2.0, use=0.1, steps=5)
    clock.train(Feeding(64, 2), read=0.3, use=0.1, steps=30)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("workers", "cores", "line"),
    [
        (0, 16, "but it reads 160: give --data.num_workers 4"),
        (2, 4, "but 2 worker processes read 160: its 4 core(s) are too few"),
    ],
)
def test_the_cure_is_one_that_the_machine_allows(
    monkeypatch, capsys: Any, workers: int, cores: int, line: str
) -> None:
    Clock(monkeypatch, cores).train(Feeding(64, workers), read=0.3, use=0.1)
    assert line in capsys.readouterr().out


def test_a_suspicion_is_looked_at_once_more_with_steps_that_are_waited_for(
    monkeypatch, capsys: Any
) -> None:
    """A GPU works on while its next batch is asked for: what it takes is seen only so."""
    clock, fed = Clock(monkeypatch), Feeding(64, 2)

    def synchronize() -> None:
        clock.now += 10.0

    cuda = SimpleNamespace(is_initialized=lambda: True, synchronize=synchronize)
    monkeypatch.setattr(feeding, "torch", SimpleNamespace(cuda=cuda))
    clock.train(fed, read=0.3, use=0.1)
    assert capsys.readouterr().out == ""


def loader(num_workers: int = 2) -> DataLoader:
    images = TensorDataset(torch.zeros(64, 3, 32, 32), torch.zeros(64))
    return DataLoader(images, batch_size=16, num_workers=num_workers)


def free(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    usage = namedtuple("usage", "total used free")(number, 0, number)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)


def test_too_little_shared_memory_is_refused_with_the_cure(monkeypatch) -> None:
    batch = 16 * 4 * (3 * 32 * 32 + 1)
    free(monkeypatch, 2 * 5 * batch)
    resumable(loader(), 0).check_shared_memory(processes=2)
    free(monkeypatch, 2 * 5 * batch - 1)
    resumable(loader(num_workers=0), 0).check_shared_memory(processes=2)
    with pytest.raises(UserError, match=re.escape("2 x 5 of 0 MiB) take 2 MiB, but")) as error:
        resumable(loader(), 0).check_shared_memory(processes=2)
    assert "docker run --shm-size 2g" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_system_without_it_asks_for_none(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(feeding, "SHARED_MEMORY", tmp_path / "none")
    check_shared_memory(loader(), 10**15, 1)


def test_bytes_of_nested_batches_are_counted() -> None:
    boxes = [{"boxes": torch.zeros(3, 4), "labels": torch.zeros(3, dtype=torch.int64)}]
    assert num_bytes(([torch.zeros(5, dtype=torch.uint8)], boxes, "name")) == 5 + 48 + 24
