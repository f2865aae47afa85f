"""Graphs of trained networks, of which exports and int8 have tests of their own: any batch."""

import torch
from torch import nn

from supernet.latency.models.trained_graph import program_of


@torch.no_grad()
def test_a_program_takes_any_number_of_images():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    network = nn.Sequential(*layers).eval()
    program = program_of(network, 8)
    for number in (1, 5000):  # programs once refused more than 1,024
        images = torch.randn(number, 3, 8, 8)
        torch.testing.assert_close(program.module()(images), network(images))
