"""The average of the weights: its decay, and what it does not wait for."""

import copy
import functools

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from supernet.training.weight_average import MovingAverage


class Counted(nn.Module):
    """A weight, and a whole number that no step averages."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weight]))
        self.register_buffer("steps", torch.tensor(7))


def test_the_average_warms_up_to_its_decay():
    source, average = Counted(4.0), Counted(0.0)
    moving, expected = MovingAverage(0.7, average, source), 4.0
    for updates in range(40):
        with torch.no_grad():
            source.weight.fill_(4.0 + updates)
            source.steps.fill_(updates)
        decay = min(0.7, (1 + updates) / (10 + updates)) if updates else 0.0
        expected = decay * expected + (1 - decay) * (4.0 + updates)
        moving.update(updates)
    assert average.weight.item() == pytest.approx(expected)
    assert average.steps.item() == 39  # whole numbers, such as counters, are those of the last step


def test_it_is_torch_s_average_to_the_bit():
    torch.manual_seed(0)
    source = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))

    def move(averages, values, _):
        torch._foreach_lerp_(averages, values, 1 - 0.1)

    torch_s = AveragedModel(source, multi_avg_fn=move, use_buffers=False)
    average = copy.deepcopy(source)
    moving = MovingAverage(0.1, average, source)
    for updates in range(4):
        with torch.no_grad():
            functools.reduce(lambda _, one: one.normal_(), source.parameters(), None)
        torch_s.update_parameters(source)
        moving.update(updates)
    for one, other in zip(average.parameters(), torch_s.module.parameters(), strict=True):
        assert torch.equal(one, other)


def test_no_number_is_read_from_the_device():
    """A meta tensor has none: whoever reads one fails, and on a GPU waits."""
    source = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).to("meta")
    moving = MovingAverage(0.9, copy.deepcopy(source), source)
    for updates in range(3):
        moving.update(updates)
    with pytest.raises(RuntimeError, match="item"):
        AveragedModel(source, device=torch.device("meta")).update_parameters(source)
