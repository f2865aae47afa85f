"""Memory of a step: predicted from few images, and the batch that is made of it."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from supernet.errors import UserError
from supernet.training import memory
from supernet.training.memory import StepMemory, free_bytes, largest_batch, size, step_memory

MEASURED = """
import resource
import sys
import torch
from supernet.arch_file import load_spec
from supernet.training.memory import step_memory
from supernet.training.recipe import PAPER

torch.set_num_threads(1)
spec = load_spec("mnasnet_small_050").scaled(resolution=96, classes=10, stem_stride=1)
network = PAPER.make_network(spec).train()

def loss_of(images):
    shown = torch.randn(images, 3, 96, 96).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=sys.argv[1] == "bf16"):
        return PAPER.loss(network(shown), torch.zeros(images, dtype=torch.long))

loss_of(2).backward()
predicted = step_memory(network, loss_of)
peak = lambda: 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
loss_of(40).backward()
print((peak() - before) / (40 * predicted.each))
"""


@pytest.mark.slow  # two processes that load torch
@pytest.mark.skipif(sys.platform != "linux", reason="other systems count the peak in other units")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_peak_of_a_step_is_within_a_fifth_of_what_is_said(precision):
    words = [sys.executable, "-c", MEASURED, precision]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(1, abs=0.2)


def test_features_are_counted_once_and_weights_not_at_all():
    network = nn.Sequential(nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 1))
    images = torch.zeros(4, 8)
    found = step_memory(network, lambda number: network(images[:number].clone()).sum())
    # The input and what the sigmoid gives, which the second layer keeps, too; two gradients.
    assert found.each == (2 + 2) * 8 * 4
    assert found.fixed == memory.COPIES * 4 * (64 + 8 + 8 + 1)
    assert found.of(3) == found.fixed + 3 * found.each


@pytest.mark.parametrize(
    ("free", "images", "together", "batch"),
    [
        (1000 * 2**20, 10**6, 1, 784),  # of memory
        (1000 * 2**20, 1000, 1, 96),  # ten steps an epoch
        (10**12, 10**6, 8, 512),  # 4,096 images a step
        (10 * 2**20, 10**6, 1, 6),
    ],
)
def test_the_largest_batch_is_of_memory_of_the_data_or_the_papers(free, images, together, batch):
    taken = StepMemory(each=2**20, fixed=10 * 2**20 if free > 10 * 2**20 else 2 * 2**20)
    assert largest_batch(taken, free, images, together) == batch


def test_what_does_not_fit_at_all_is_one_line():
    with pytest.raises(UserError, match=r"not even 2 images fit: they take 2\.0 GiB of 1\.0"):
        largest_batch(StepMemory(2**29, 2**30), 2**30, 10**6, 1)
    assert size(30 * 2**20) == "30 MiB"


def test_processes_share_a_machine_s_memory_and_a_container_has_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_machine_bytes", lambda: 4000)
    assert free_bytes(torch.device("cpu"), 2) in (2000, memory._container_bytes() // 2)
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    assert memory._container_bytes(tmp_path) == 3000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._container_bytes(tmp_path) == 2**62
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    7 kB\n")
    monkeypatch.undo()
    assert memory._machine_bytes(tmp_path / "meminfo") == 7 * 1024
    assert memory._machine_bytes(tmp_path / "none") > 2**20
