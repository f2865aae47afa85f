"""What a few steps of its own training make of an extracted network."""

import itertools
import json
import random

import pytest
import torch
from torch.nn import functional

from search.selection.selection import tune
from search.settings import WeightOptimizer
from supernet.network.supernet import SuperNet
from tests.helpers.tiny import SPACE

WEIGHTS = WeightOptimizer(name="sgd", lr=0.1, lr_batch=16, max_grad_norm=1e9)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return SuperNet(SPACE).extract(SPACE.sample(random.Random(0)))


def batches():
    generator = torch.Generator().manual_seed(1)
    while True:
        labels = torch.randint(10, (16,), generator=generator)
        yield torch.randn(16, 3, 8, 8, generator=generator) + labels[:, None, None, None], labels


def losses(network, steps):
    network.train()
    with torch.no_grad():
        return [
            float(functional.cross_entropy(network(x), y))
            for x, y in itertools.islice(batches(), steps)
        ]


def state(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_no_step_changes_no_weight(network):
    before = state(network)
    tune(network, batches(), WEIGHTS, 0)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_one_step_is_that_of_its_optimizer(network):
    images, labels = next(batches())
    weight = network.classifier.weight
    functional.cross_entropy(network.train()(images), labels).backward()
    expected = weight.detach() - 1.9 * 0.1 * weight.grad  # Nesterov's first step: 1 + momentum
    tune(network, batches(), WEIGHTS, 1)
    torch.testing.assert_close(weight.detach(), expected)


def test_tuning_learns_and_its_last_steps_are_the_smallest(network, monkeypatch):
    rates = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW,
        "step",
        lambda self, *args: rates.append(self.param_groups[0]["lr"]) or step(self, *args),
    )
    before = sum(losses(network, 8))
    tune(network, batches(), WeightOptimizer(), 30)
    assert sum(losses(network, 8)) < 0.9 * before
    assert rates == pytest.approx(
        [WeightOptimizer().scaled_lr(16) * (1 - i / 30) for i in range(30)]
    )


def test_a_search_tunes_its_finalists_and_judges_anew_when_told_otherwise(
    search, tiny_search, tmp_path, capsys
):
    judged = tmp_path / "run" / "judged-rank0.jsonl"
    search(*tiny_search, "--model.final.tuning_steps", 3)
    rows = [json.loads(line) for line in judged.read_text().splitlines()]
    assert {row["tuning"] for row in rows} == {3}
    assert "images, tuned for 3 steps: " in capsys.readouterr().out
    search(*tiny_search, "--model.final.tuning_steps", 0, "--ckpt_path", "last")
    more = [json.loads(line) for line in judged.read_text().splitlines()][len(rows) :]
    assert {row["tuning"] for row in more} == {0}
    assert "on validation images: " in capsys.readouterr().out
    tuned = {tuple(row["code"]): row["accuracy"] for row in rows}
    search(
        *tiny_search,
        "--model.final.tuning_steps",
        0,
        "--model.weights.lr",
        1e-4,
        "--ckpt_path",
        "last",
    )
    assert len(judged.read_text().splitlines()) == len(rows) + 2 * len(more)
    alike = [row for row in more if tuple(row["code"]) in tuned]
    assert alike
    assert any(row["accuracy"] != tuned[tuple(row["code"])] for row in alike)
