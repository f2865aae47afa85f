"""From many candidates to one: fronts, short lists and the choice."""

from search.finish import Candidate, choose, front, shortlist


def candidates(*pairs):
    return [Candidate((number,), cost, accuracy) for number, (cost, accuracy) in enumerate(pairs)]


def test_the_front_holds_what_nothing_beats():
    a, b, c, d = candidates((1, 0.5), (2, 0.7), (2, 0.6), (3, 0.7))
    assert front([d, c, b, a]) == [a, b]


def test_the_choice_is_the_most_accurate_within_the_target():
    a, b, _ = candidates((1, 0.5), (2, 0.7), (3, 0.9))
    assert choose([a, b, _], target=2) == b


def test_of_equals_the_cheaper_is_chosen_whatever_the_order():
    a, b = candidates((2, 0.7), (1, 0.7))
    assert choose([a, b], 2) == choose([b, a], 2) == b


def test_half_of_the_short_list_lies_within_the_target():
    many = candidates(*((cost, cost / 20) for cost in range(1, 21)))
    listed = shortlist(many, target=10, num=8)
    assert len(listed) == 8
    assert sum(one.cost <= 10 for one in listed) >= 4
    assert listed[0].cost == 10


def test_a_short_list_of_few_holds_them_all_once():
    few = candidates((1, 0.1), (2, 0.9))
    assert sorted(one.cost for one in shortlist(few, target=1, num=8)) == [1, 2]
