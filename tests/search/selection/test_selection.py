"""From many candidates to one: fronts, short lists and the choice."""

from search.objective.targets import Target
from search.selection.selection import Candidate, best_hits, front, shortlist


def candidates(*pairs):
    return [
        Candidate((number,), cost, accuracy, accuracy)
        for number, (cost, accuracy) in enumerate(pairs)
    ]


def target(cost, least):
    return Target("t", cost, least)


def test_the_front_holds_what_nothing_beats():
    a, b, c, d = candidates((1, 0.5), (2, 0.7), (2, 0.6), (3, 0.7))
    assert front([d, c, b, a]) == [a, b]


def test_the_choice_is_the_most_accurate_in_the_band_whatever_is_better_beside_it():
    a, b, c, d = candidates((1, 0.8), (1.99, 0.5), (2, 0.7), (2.01, 0.9))
    assert best_hits([a, b, c, d], target(2, 1.98), 1) == [c]
    assert best_hits([a, b, c, d], target(2, 1.98), 3) == [c, b]


def test_of_equals_the_cheaper_is_chosen_whatever_the_order():
    a, b = candidates((2, 0.7), (1.99, 0.7))
    band = target(2, 1.98)
    assert best_hits([a, b], band, 1) == best_hits([b, a], band, 1) == [b]


def test_judged_candidates_are_chosen_by_the_probability_of_the_right_class():
    a, b = Candidate((0,), 2, 0.7, 0.5), Candidate((1,), 2, 0.6, 0.55)
    assert best_hits([a, b], target(2, 1.98), 1) == [b]
    assert front([a, b]) == [a]


def test_half_of_the_short_list_hits_the_target():
    many = candidates(*((cost, cost / 20) for cost in range(1, 21)))
    listed = shortlist(many, [target(10, 5)], num=8)
    assert [one.cost for one in listed[:4]] == [10, 9, 8, 7]
    assert len(listed) == 8


def test_every_target_has_its_half_and_the_front_is_shared():
    many = candidates(*((cost, cost / 20) for cost in range(1, 21)))
    listed = shortlist(many, [target(5, 2), target(10, 7), target(15, 12)], num=4)
    assert [one.cost for one in listed[:6]] == [5, 4, 10, 9, 15, 14]
    assert len(listed) == 8


def test_a_short_list_of_few_holds_them_all_once():
    few = candidates((1, 0.1), (2, 0.9))
    assert sorted(one.cost for one in shortlist(few, [target(1, 0)], num=8)) == [1, 2]
