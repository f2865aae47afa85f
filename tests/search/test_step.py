"""A controller step, which a search and a comparison share."""

import random

import pytest
import torch

from search.controllers.controller import Controller, Proposals, UpdateStep, draw_targets
from search.objective.reward import Reward
from search.step import controller_step, make_generator, mean_score, slice_scores
from supernet.network.supernet import SuperNet
from supernet.training.standalone import SHARPNESS, right_probabilities
from tests.helpers.tiny import MACS, SPACE
from tests.helpers.toys import toy_objective


def spellings():
    """Two codes of one network: an identity that acts nowhere, and none."""
    rng = random.Random(0)
    while True:
        arch = SPACE.sample(rng)
        if SPACE.canonical(arch) != arch:
            return arch, SPACE.canonical(arch)


def test_spellings_of_one_network_are_run_once_and_score_alike(monkeypatch):
    torch.manual_seed(0)
    supernet, runs = SuperNet(SPACE), []
    forward = SuperNet.forward
    monkeypatch.setattr(SuperNet, "forward", lambda *args: runs.append(args[2]) or forward(*args))
    images, labels = torch.randn(32, 3, 8, 8), torch.randint(10, (32,))
    arch, canonical = spellings()
    other = SPACE.sample(random.Random(5))
    found = slice_scores(supernet, [arch, other, canonical, other], images, labels, "accuracy")
    assert len(runs) == 2
    assert found[0] == found[2]
    assert found[1] == found[3]
    assert found[0] == (forward(supernet, images, arch).argmax(1) == labels).float().mean()


def test_scores_are_the_accuracy_of_the_likeliest_or_of_drawn_answers():
    torch.manual_seed(0)
    logits, labels = torch.randn(4000, 3), torch.randint(3, (4000,))
    assert mean_score(logits, labels, "accuracy") == (logits.argmax(1) == labels).float().mean()
    drawn = torch.multinomial((SHARPNESS * logits).softmax(1), 200, replacement=True)
    expected = float((drawn == labels[:, None]).float().mean())
    assert float(mean_score(logits, labels, "soft_accuracy")) == pytest.approx(expected, abs=0.002)


def test_a_soft_accuracy_differs_between_unsure_networks_like_the_accuracy():
    """Logits of little size, one network more often right: the probability hardly tells."""
    torch.manual_seed(0)
    labels = torch.randint(10, (20_000,))
    right = torch.nn.functional.one_hot(labels, 10).float()
    unsure = [0.3 * (strength * right + torch.randn(20_000, 10)) for strength in (0.5, 0.8)]

    def difference(score):
        one, other = (score(logits) for logits in unsure)
        return float(other - one)

    accuracy = difference(lambda logits: mean_score(logits, labels, "accuracy"))
    soft = difference(lambda logits: mean_score(logits, labels, "soft_accuracy"))
    probability = difference(lambda logits: right_probabilities(logits, labels).mean())
    assert 0 < probability < 0.25 * accuracy
    assert 0.5 * accuracy < soft < accuracy


def test_soft_accuracies_tell_networks_apart_on_fewer_images_than_accuracies():
    """Two networks, one a little better: means of 100 images, in units of their noise."""
    torch.manual_seed(0)
    labels = torch.randint(10, (500, 100))
    right = torch.nn.functional.one_hot(labels, 10).float()
    noise = torch.randn(2, 500, 100, 10)
    logits = torch.stack([1.0 * right + noise[0], 1.2 * right + noise[1]]).flatten(1, 2)

    def separation(score):
        batches = [
            torch.stack([mean_score(*batch, score) for batch in zip(one, two, strict=True)])
            for one, two in [(net.view(500, 100, 10), labels) for net in logits]
        ]
        difference = batches[1] - batches[0]
        return float(difference.mean() / difference.std())

    assert separation("soft_accuracy") > 1.1 * separation("accuracy") > 0


class Recorder(Controller):
    """Proposes one architecture over and over and keeps what it is told."""

    def propose(self, num, generator):
        self.drawn = torch.rand(1, generator=generator)
        targets = draw_targets(num, self.num_targets, generator)
        return Proposals(torch.zeros(num, len(SPACE.decision_sizes), dtype=torch.long), targets)

    def learn(self, proposals, scores, generator, step):
        self.told = proposals, scores, torch.rand(1, generator=generator), step
        return {"seen": 1.0}

    def finalists(self, num, generator, target=0):
        raise AssertionError("a step is no final choice")

    def preferences(self, indices, target=0):
        raise AssertionError("a step is no final choice")


def stepped(controller):
    draws, shuffles = (make_generator(purpose, 3, 7) for purpose in ("samples", "minibatches"))

    def accuracies(rows):
        return torch.full((len(rows),), 0.5)

    return controller_step(controller, 4, accuracies, UpdateStep(2, 9), draws, shuffles)


def test_a_step_proposes_scores_and_teaches():
    controller = Recorder()
    cost = MACS.predict(SPACE.spec(SPACE.decode([0] * len(SPACE.decision_sizes))))
    controller.prepare(toy_objective(Reward("hard"), cost / 2, space=SPACE, cost_model=MACS))
    draws, shuffles = (make_generator(purpose, 3, 7) for purpose in ("samples", "minibatches"))
    result = controller_step(
        controller, 4, lambda rows: torch.full((len(rows),), 0.5), UpdateStep(2, 9), draws, shuffles
    )
    proposals, scores, shuffled, step = controller.told
    assert (result.proposals, result.scores, result.logs["seen"]) == (proposals, scores, 1.0)
    assert result.logs["reward/mean"] == 0.25
    assert (result.logs["reward/accuracy"], result.logs["reward/cost"]) == (0.5, -0.25)
    assert result.logs["cost/mean"] == pytest.approx(cost)
    assert result.logs["cost/over_target"] == 1.0
    assert step == UpdateStep(2, 9)
    torch.testing.assert_close(scores.cost, torch.full((4,), cost))
    # At twice the target the hard reward halves the accuracy.
    torch.testing.assert_close(scores.reward, torch.full((4,), 0.25))
    assert result.seconds >= 0
    assert controller.drawn != shuffled
    assert controller.drawn == torch.rand(1, generator=make_generator("samples", 3, 7))


def test_each_architecture_is_scored_under_its_own_target():
    controller = Recorder(targets=2)
    cost = MACS.predict(SPACE.spec(SPACE.decode([0] * len(SPACE.decision_sizes))))
    objective = toy_objective(Reward("hard"), cost / 2, cost / 4, space=SPACE, cost_model=MACS)
    controller.prepare(objective)
    draws, shuffles = (make_generator(purpose, 3, 7) for purpose in ("samples", "minibatches"))
    result = controller_step(
        controller, 4, lambda rows: torch.full((len(rows),), 0.5), UpdateStep(2, 9), draws, shuffles
    )
    assert sorted(result.proposals.targets.tolist()) == [0, 0, 1, 1]
    expected = torch.tensor([0.25, 0.125])[result.proposals.targets]
    torch.testing.assert_close(result.scores.reward, expected)
