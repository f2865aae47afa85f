"""Regularised evolution, uniform draws and the archive."""

import math

import pytest
import torch

from search.controllers.controller import Proposals, Scores, UpdateStep
from search.controllers.evolution import Evolution, RegularisedEvolution
from search.controllers.random_search import Archive, RandomSearch, draw_uniform
from supernet.errors import UserError
from tests.helpers.toys import generator

SIZES = (4, 2, 1, 3, 1, 3)


def told(controller, codes, rewards):
    """A controller that has learned these rewards."""
    rewards = torch.tensor(rewards)
    scores = Scores(rewards, torch.ones_like(rewards), rewards)
    proposals = Proposals(torch.tensor(codes), torch.zeros(len(codes), dtype=torch.long))
    return controller, controller.learn(proposals, scores, generator(0), UpdateStep(0, 1))


def evolving(population, tournament):
    return RegularisedEvolution(SIZES, Evolution(population, tournament), keep=8)


def code(*changes):
    """The code of zeros with ``changes`` as its first indices."""
    return [*changes, *[0] * (len(SIZES) - len(changes))]


def test_uniform_draws_take_every_value_equally_often_and_no_other():
    num = 12_000
    drawn = draw_uniform(torch.tensor(SIZES), num, generator(0))
    for column, size in zip(drawn.T, SIZES, strict=True):
        counts = torch.bincount(column, minlength=size)
        assert len(counts) == size
        assert (counts - num / size).abs().max() < 5 * math.sqrt(num / size)


def test_children_differ_from_the_best_of_all_in_exactly_one_decision_that_has_a_choice():
    best = [3, 1, 0, 2, 0, 1]
    # A tournament of 400 among 3 misses the best with a probability of 1e-70.
    controller, _ = told(evolving(3, 400), [code(1), best, code(2)], [0.1, 0.9, 0.3])
    children = controller.propose(600, generator(1)).indices
    changed = children != torch.tensor(best)
    assert (changed.sum(dim=1) == 1).all()
    assert set(changed.nonzero()[:, 1].tolist()) == {0, 1, 3, 5}
    assert set(children[changed[:, 0], 0].tolist()) == {0, 1, 2}
    counts = changed.sum(dim=0)[[0, 1, 3, 5]]
    assert (counts - 150).abs().max() < 5 * math.sqrt(150)


def test_tournaments_of_one_ignore_rewards():
    controller, _ = told(evolving(2, 1), [code(1), code(3)], [0.0, 1.0])
    parents = controller.populations[0].parents(1000, 1, generator(2))[:, 0]
    assert set(parents.tolist()) == {1, 3}
    assert abs((parents == 1).sum().item() - 500) < 5 * math.sqrt(250)


def test_the_oldest_die_however_good_they_are():
    controller, _ = told(evolving(2, 50), [code(1), code(2)], [0.9, 0.1])
    controller, logs = told(controller, [code(3)], [0.2])
    assert controller.populations[0].indices.tolist() == [code(2), code(3)]
    assert logs["archive/best"] == pytest.approx(0.9)
    assert logs["evolution/population"] == pytest.approx(0.15)
    assert controller.finalists(1, generator(0)).tolist() == [code(1), code(3)]


def test_more_children_than_places_leave_the_youngest():
    controller, _ = told(evolving(2, 2), [code(0), code(1), code(2)], [0.5, 0.6, 0.7])
    assert controller.populations[0].indices.tolist() == [code(1), code(2)]


def test_until_the_population_is_full_proposals_are_uniform():
    controller, _ = told(evolving(3, 400), [code(1), code(2)], [0.5, 0.6])
    assert not controller.is_full
    uniform = draw_uniform(torch.tensor(SIZES), 9, generator(3))
    assert torch.equal(controller.propose(9, generator(3)).indices, uniform)


def test_the_logged_entropy_is_that_of_the_population():
    _, logs = told(evolving(4, 1), [code(0), code(0), code(1), code(2)], [0.1, 0.2, 0.3, 0.4])
    assert logs["entropy/op"] == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(4))
    assert logs["entropy/kernel"] == 0


def test_a_space_without_choices_is_proposed_as_it_is():
    controller = RegularisedEvolution((1,) * 6, Evolution(1, 1), keep=2)
    told(controller, [[0] * 6], [0.5])
    assert controller.propose(2, generator(0)).indices.tolist() == [[0] * 6] * 2


def test_random_search_returns_the_best_of_what_it_drew():
    controller = RandomSearch(SIZES, keep=8)
    told(controller, [code(1), code(2), code(3)], [0.2, 0.9, 0.4])
    _, logs = told(controller, [code(0, 1)], [0.5])
    assert controller.finalists(2, generator(0)).tolist() == [code(2), code(0, 1), code(3)]
    assert logs["archive/best"] == pytest.approx(0.9)
    assert logs["entropy/op"] == pytest.approx(math.log(4))


def test_the_archive_keeps_the_best_distinct_ones_with_their_newest_rewards():
    archive = Archive(2, 1)
    assert len(archive.held) == 0
    archive.add(torch.tensor([[1], [2], [3]]), torch.tensor([0.5, 0.9, 0.7]))
    assert archive.held.tolist() == [[2], [3]]
    archive.add(torch.tensor([[2], [4]]), torch.tensor([0.1, 0.8]))
    assert archive.held.tolist() == [[4], [3]]
    assert archive.rewards.tolist() == pytest.approx([0.8, 0.7])


@pytest.mark.parametrize("key", ["population", "tournament"])
def test_sizes_below_one_are_refused(key):
    with pytest.raises(UserError, match=rf"evolution\.{key} is 0, it must be at least 1"):
        Evolution(**{key: 0})


def test_what_is_remembered_is_rewarded_anew_when_the_judge_has_learned():
    codes = [code(place, 1) for place in range(4)]
    controller, _ = told(evolving(4, 2), codes, [0.1, 0.2, 0.3, 0.4])
    assert controller.finalists(3, generator(0)).tolist() == codes[::-1]
    controller.reconsider(lambda target, rows: -rows[:, 0].float() - target)
    assert controller.finalists(3, generator(0)).tolist() == codes
    assert controller.populations[0].rewards.tolist() == [0, -1, -2, -3]
