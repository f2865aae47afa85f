"""The network nearest below a target: subset sums against every network of a small space."""

import itertools
import random

import pytest

from search.objective.feasible import fastest, slowest
from search.objective.reach import dearest_within
from supernet.cost.model import CostTable
from supernet.space.arch import Arch
from tests.helpers.tables import DIGITS, TINY, random_table

TABLES = {"macs": CostTable("macs"), "params": CostTable("params"), "ms": random_table(TINY, 0)}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_nearest_network_below_a_target_is_that_of_trying_every_network(table):
    blocks = map(TINY.block_choices, range(TINY.num_blocks))
    costs = [table.predict(TINY.spec(Arch(choice))) for choice in itertools.product(*blocks)]
    targets = [min(costs), *(random.Random(0).uniform(min(costs), max(costs)) for _ in range(20))]
    for target in [*targets, 2 * max(costs)]:
        arch, cost = dearest_within(TINY, table, target)
        nearest = max(one for one in costs if one <= target)
        assert nearest - 1e-4 * target <= cost <= nearest
        assert table.predict(TINY.spec(arch)) == cost
        assert TINY.canonical(arch) == arch


def test_in_the_whole_space_something_lies_right_below_every_target():
    table = CostTable("macs")
    least, most = fastest(DIGITS, table)[1], slowest(DIGITS, table)[1]
    for share in (0.1, 0.5, 0.9):
        target = least + share * (most - least)
        _, cost = dearest_within(DIGITS, table, target)
        assert 0.9999 * target <= cost <= target
