"""Graphs of trained networks: for any batch, under the names that were asked for."""

import onnx
import torch
from torch import nn

from supernet.latency.models.trained_graph import open_graph, program_of, write_graph


@torch.no_grad()
def test_a_graph_takes_any_number_of_images(tmp_path):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    network, path = nn.Sequential(*layers).eval(), tmp_path / "network.onnx"
    program = program_of(network, 8)
    write_graph(program, path, ["logits"])
    graph = onnx.load(path).graph
    assert [one.name for one in (*graph.input, *graph.output)] == ["images", "logits"]
    run = open_graph(path)
    for number in (1, 5000):  # programs once refused more than 1,024
        images = torch.randn(number, 3, 8, 8)
        expected = network(images)
        torch.testing.assert_close(program.module()(images), expected)
        torch.testing.assert_close(run(images)[0], expected)
