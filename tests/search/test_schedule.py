"""The schedule and the warm-up paths, in closed form."""

import math
import random
from collections import Counter

import pytest

from search.paths import warmup_path
from search.settings import Schedule, update_steps
from supernet.errors import UserError
from supernet.space.arch import mixed_ops
from supernet.space.mnasnet import MnasSpace

SPACE = MnasSpace()


def test_the_warmup_probability_falls_linearly_to_zero():
    schedule = Schedule(warmup=0.5)
    values = [schedule.warmup_probability(p) for p in (0, 0.25, 0.5, 1)]
    assert values == [1, 0.5, 0, 0]


def test_the_stream_is_gone_before_anything_is_scored():
    assert Schedule().stream_weight(0.9) == 0


def test_the_learning_rate_ramps_up_and_falls_to_its_floor_at_the_last_shared_step():
    schedule = Schedule(ramp=0.1, floor=0.05)
    assert schedule.learning_rate(0.05) == 0.5
    assert schedule.learning_rate(0.5) == pytest.approx(0.05 + 0.95 / 2)
    assert schedule.learning_rate(1.0) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("share", "total", "score", "steps"),
    [
        (None, 2000, "tuned", 0),
        (0.15, 2000, "tuned", 300),
        (None, 2000, "accuracy", 1600),
        (0.0, 2000, "tuned", 0),
        (0.3, 10, "tuned", 3),
        (0.15, 24, "soft_accuracy", 4),
    ],
)
def test_a_share_of_the_steps_trains_shared_weights(share, total, score, steps):
    assert Schedule(share).shared_steps(total, score) == steps


@pytest.mark.parametrize(
    ("first", "total", "every", "steps"),
    [
        (20, 24, 2, [20, 22]),
        (2400, 3000, 8, range(2400, 3000, 8)),
        (0, 5, 2, [0, 2, 4]),
        (4, 30, 3, range(6, 30, 3)),
        (20, 24, 40, []),
    ],
)
def test_the_controller_learns_from_slices_after_these_steps(first, total, every, steps):
    assert list(update_steps(first, total, every)) == list(steps)


def test_without_warmup_nothing_is_warmed_up():
    assert Schedule(warmup=0).warmup_probability(0) == 0


@pytest.mark.parametrize(
    "wrong",
    [{"warmup": 1.1}, {"share": 1.0}, {"share": -0.1}, {"stream": 2}, {"floor": 2.0}, {"ramp": -1}],
)
def test_shares_that_are_none_are_refused(wrong):
    with pytest.raises(UserError, match=f"schedule.{next(iter(wrong))} is "):
        Schedule(**wrong)


# --- settings of version 0.1 ----------------------------------------------------------------------


def rates_of_before(progress, warmup, stream, uniform, floor, ramp):
    """Warm-up, stream and learning rate at a share of all steps, as version 0.1 had them."""
    done = min(1.0, progress / uniform)
    cosine = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))
    return (
        max(0.0, 1 - progress / warmup) if warmup else 0.0,
        max(0.0, 1 - progress / stream) if stream else 0.0,
        progress / ramp if progress < ramp else cosine,
    )


@pytest.mark.parametrize(
    "old",
    [
        {"warmup": 0.5, "stream": 0.7, "uniform": 0.8, "floor": 0.05, "ramp": 0.03},
        {"warmup": 0.0, "stream": 0.0, "uniform": 0.5, "floor": 1.0, "ramp": 0.0},
        {"warmup": 0.2, "stream": 0.2, "uniform": 0.2, "floor": 0.1, "ramp": 0.1},
    ],
)
def test_settings_that_name_uniform_do_at_every_step_what_they_did(old):
    schedule, total = Schedule(**old), 200
    shared = schedule.shared_steps(total, "soft_accuracy")
    assert (schedule.uniform, shared) == (None, old["uniform"] * total)
    for step in range(total):
        progress = min(1.0, step / shared)
        found = (
            schedule.warmup_probability(progress),
            schedule.stream_weight(progress),
            schedule.learning_rate(progress),
        )
        assert found == pytest.approx(rates_of_before(step / total, **old)), step


def test_uniform_beside_nothing_else_has_the_other_defaults_of_its_time():
    expected = Schedule(warmup=0.5, stream=0.7, uniform=0.9, ramp=0.03)
    assert Schedule(uniform=0.9) == expected != Schedule(share=0.9)


@pytest.mark.parametrize(
    "wrong", [{"warmup": 0.9}, {"uniform": 1.0}, {"stream": 0.9}, {"ramp": 0.9}, {"share": 0.5}]
)
def test_settings_that_name_uniform_are_refused_out_of_order(wrong):
    old = {"warmup": 0.5, "stream": 0.7, "uniform": 0.8, "ramp": 0.03, **wrong}
    with pytest.raises(UserError, match=f"schedule: .*{next(iter(wrong))}"):
        Schedule(**old)


# --- warm-up paths --------------------------------------------------------------------------------


def test_a_certain_warmup_varies_the_ops_alone():
    arch = SPACE.sample(random.Random(0))
    path = warmup_path(arch, SPACE, 1.0, random.Random(0))
    for drawn, block in zip(arch.blocks, path.blocks, strict=True):
        first, other = mixed_ops(block.op)
        assert drawn.op == first != other
        assert other in SPACE.ops
        assert (block.kernel, block.se, block.skip) == (5, 0.25, "pool")
        assert (block.filters, block.layers) == (1.0, 0)


def test_each_pair_of_ops_is_mixed():
    rng = random.Random(3)
    paths = [warmup_path(SPACE.sample(rng), SPACE, 1.0, rng) for _ in range(100)]
    pairs = Counter(frozenset(mixed_ops(block.op)) for path in paths for block in path.blocks)
    assert len(pairs) == 6
    assert min(pairs.values()) > 80  # of 700, a sixth of which is 117


def test_no_warmup_changes_nothing():
    arch = SPACE.sample(random.Random(1))
    assert warmup_path(arch, SPACE, 0.0, random.Random(0)) == arch


def test_decisions_are_warmed_up_independently():
    rng = random.Random(2)
    enabled = 0
    for _ in range(500):
        blocks = warmup_path(SPACE.sample(rng), SPACE, 0.5, rng).blocks
        enabled += sum(len(mixed_ops(block.op)) > 1 for block in blocks)
    assert enabled / 3500 == pytest.approx(0.5, abs=0.04)


def test_a_space_of_one_op_mixes_nothing():
    space = MnasSpace(ops=("mbconv6",))
    path = warmup_path(space.sample(random.Random(0)), space, 1.0, random.Random(0))
    assert {block.op for block in path.blocks} == {"mbconv6"}
