"""Networks on shared weights: what tuning makes of them, and their scores."""

import itertools
import random

import pytest
import torch
from torch.nn import functional

from search.evaluation.frozen_supernet import FrozenSupernet, tune
from search.evaluation.trainings import TrainingRunner
from search.settings import WeightOptimizer
from supernet.data.run_data import RunData
from supernet.network.supernet import SuperNet
from supernet.training.config import read_training
from tests.helpers.tiny import SPACE, TRAINING, save_supernet

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


def test_the_score_is_that_of_the_extracted_network_with_fresh_statistics(tmp_path):
    (tmp_path / "retrain.yaml").write_text(TRAINING.replace("STEPS", "4"))
    runner = TrainingRunner(read_training(tmp_path / "retrain.yaml"))
    judge = FrozenSupernet(save_supernet(tmp_path / "last.ckpt"), runner, num_images=64)
    arch, other = (next(SPACE.samples(seed)) for seed in (0, 1))
    found = judge.evaluate(arch)
    torch.testing.assert_close(found, judge.evaluate(arch))
    network = judge.supernet.extract(arch)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean over batches
    data = RunData(runner.data, "search", judge.seed)
    with torch.no_grad():
        for images, _ in data.weights_batches(64):
            network.train()(images)
        images, labels = map(torch.cat, zip(*runner.data.val_dataloader(), strict=True))
        logits = network.eval()(images)
    loss = torch.nn.functional.cross_entropy(logits, labels).item()
    assert found.loss == pytest.approx(loss, rel=1e-4)
    assert judge.evaluate(other).loss != pytest.approx(loss, rel=1e-4)
