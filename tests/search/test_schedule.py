"""The schedule and the warm-up paths, in closed form."""

import random

import pytest

from search.settings import Schedule, warmup_path
from supernet.errors import UserError
from supernet.space.arch import MIXED
from supernet.space.mnasnet import MnasSpace

SPACE = MnasSpace()


def test_the_warmup_probability_falls_linearly_to_zero():
    schedule = Schedule(warmup=0.5)
    values = [schedule.warmup_probability(p) for p in (0, 0.25, 0.5, 1)]
    assert values == [1, 0.5, 0, 0]


def test_the_stream_is_gone_before_the_controller_scores():
    schedule = Schedule()
    assert schedule.stream_weight(schedule.uniform) == 0


def test_the_learning_rate_ramps_up_and_falls_to_its_floor_when_the_policy_begins():
    schedule = Schedule(ramp=0.1, uniform=0.8, floor=0.05)
    assert schedule.learning_rate(0.05) == 0.5
    assert schedule.learning_rate(0.4) == pytest.approx(0.05 + 0.95 / 2)
    assert schedule.learning_rate(0.8) == schedule.learning_rate(1.0) == pytest.approx(0.05)


def test_a_policy_from_the_first_step_on_trains_at_the_floor():
    schedule = Schedule(warmup=0, stream=0, uniform=0, ramp=0.1, floor=0.05)
    assert [schedule.learning_rate(p) for p in (0, 0.05, 0.1, 1)] == [0, 0.5, 0.05, 0.05]


@pytest.mark.parametrize(
    ("uniform", "total", "every", "steps"),
    [
        (0.8, 24, 2, [20, 22]),
        (0.8, 3000, 8, range(2400, 3000, 8)),
        (0.0, 5, 2, [0, 2, 4]),
        (0.1, 30, 3, range(3, 30, 3)),
    ],
)
def test_the_controller_learns_after_these_steps(uniform, total, every, steps):
    schedule = Schedule(warmup=0.0, stream=0.0, uniform=uniform)
    assert list(schedule.update_steps(total, every)) == list(steps)


def test_without_warmup_nothing_is_warmed_up():
    assert Schedule(warmup=0).warmup_probability(0) == 0


@pytest.mark.parametrize(
    "wrong", [{"warmup": 0.9}, {"uniform": 1.0}, {"stream": 0.9}, {"floor": 2.0}, {"ramp": 1.0}]
)
def test_shares_out_of_order_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        Schedule(**wrong)


def test_a_certain_warmup_enables_everything():
    path = warmup_path(SPACE.sample(random.Random(0)), SPACE, 1.0, random.Random(0))
    for block in path.blocks:
        assert block.op == MIXED
        assert (block.kernel, block.se, block.skip) == (5, 0.25, "pool")
        assert (block.filters, block.layers) == (1.25, 1)


def test_no_warmup_changes_nothing():
    arch = SPACE.sample(random.Random(1))
    assert warmup_path(arch, SPACE, 0.0, random.Random(0)) == arch


def test_decisions_are_warmed_up_independently():
    rng = random.Random(2)
    enabled = 0
    for _ in range(500):
        blocks = warmup_path(SPACE.sample(rng), SPACE, 0.5, rng).blocks
        enabled += sum(block.op == MIXED for block in blocks)
    assert enabled / 3500 == pytest.approx(0.5, abs=0.04)


def test_a_space_of_one_op_mixes_nothing():
    space = MnasSpace(ops=("mbconv6",))
    path = warmup_path(space.sample(random.Random(0)), space, 1.0, random.Random(0))
    assert {block.op for block in path.blocks} == {"mbconv6"}
