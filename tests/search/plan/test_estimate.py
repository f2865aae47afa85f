"""Estimates: what lengths take, and the greatest that a budget pays for."""

import dataclasses

import pytest

from search.plan import estimate as estimates
from search.plan.estimate import (
    FINALISTS,
    NETWORKS,
    RECALIBRATION,
    Images,
    Rates,
    RunLengths,
    TimeEstimate,
)
from search.plan.rules import LEAST_EPOCHS, LEAST_TUNING, MOST_EPOCHS, Machine
from search.settings import TUNED_CANDIDATES, Final, SurrogateSettings
from search.surrogate import tunings
from supernet.errors import UserError
from supernet.training import step_times

IMAGES = Images(300, 330, 50, 160, 8, 96, "48x48 to 96x96")
RATES = Rates(96, step=0.1, build=0.05, read=0.002, read_augmented=0.003)
HERE = TimeEstimate(IMAGES, Machine(1), 32, RATES, measures_table=True)


def test_its_constants_are_those_of_a_search():
    assert SurrogateSettings().networks + TUNED_CANDIDATES == NETWORKS
    assert FINALISTS == TUNED_CANDIDATES
    assert Final().recalibration_images == RECALIBRATION
    assert estimates.KEPT_BYTES == tunings.KEPT_BYTES


def test_a_search_is_its_tunings_and_a_retraining_its_steps():
    # 50 more steps of 60 networks, whose batches are read once.
    longer = HERE.search_seconds(60) - HERE.search_seconds(10)
    assert longer == pytest.approx(50 * (60 * 0.1 + 32 * 0.002))
    # 10 epochs of 10 steps, and a validation of each.
    longer = HERE.retraining_seconds(20) - HERE.retraining_seconds(10)
    steps = 100 * (0.1 + 32 * 0.003 + step_times.STEP_S)
    judged = 10 * 50 * (0.1 / 3 / 32 + 0.002)
    assert longer == pytest.approx(steps + 10 * step_times.EPOCH_S + judged)


def test_batches_that_are_not_kept_are_read_for_every_network():
    steps = estimates.KEPT_BYTES // (4 * 3 * 96**2 * 32)
    once = HERE.search_seconds(steps) - HERE.search_seconds(steps - 1)
    again = HERE.search_seconds(steps + 1) - HERE.search_seconds(steps)
    reading = 32 * 0.002
    assert again - once == pytest.approx(reading * (60 * (steps + 1) - steps - 1))


def test_a_gpu_reads_while_it_computes():
    slow_disk = dataclasses.replace(RATES, step=0.001, read=0.01, read_augmented=0.01)
    gpu = dataclasses.replace(HERE, machine=Machine(5, "H100"), rates=slow_disk)
    longer = gpu.retraining_seconds(20) - gpu.retraining_seconds(10)
    judged = 10 * 50 * (0.001 / 3 / 32 + 0.01 / 5)
    steps = 100 * (32 * 0.01 / 4 + step_times.STEP_S)
    assert longer == pytest.approx(steps + 10 * step_times.EPOCH_S + judged)


def test_other_programs_slow_what_is_not_measured_too():
    busy = dataclasses.replace(HERE, rates=dataclasses.replace(RATES, busy=3.0))
    rest = estimates.START_S + estimates.LEARN_S + estimates.TABLE_S
    assert busy.search_seconds(9) - HERE.search_seconds(9) == pytest.approx(2 * rest)


@pytest.mark.parametrize("minutes", [6, 10, 20, 40])
def test_a_budget_is_kept_and_used(minutes):
    lengths = HERE.within(60 * minutes)
    assert HERE.seconds(lengths) <= 60 * minutes
    assert lengths.search_steps == 60 * lengths.tuning
    one_more = RunLengths(lengths.tuning, lengths.epochs + 1)
    assert lengths.epochs == MOST_EPOCHS or HERE.seconds(one_more) > 60 * minutes


def test_more_time_buys_more_until_no_more_helps():
    found = [HERE.within(60 * minutes) for minutes in (6, 12, 24, 480)]
    assert found[:3] == sorted(set(found[:3]), key=lambda one: (one.tuning, one.epochs))
    assert found[-1] == RunLengths(60, MOST_EPOCHS)


def test_a_budget_that_pays_for_too_little_is_refused_with_one_that_does():
    with pytest.raises(
        UserError, match=r"--budget is 60 s, .* at 96 px .* --budget (\d+)m"
    ) as told:
        HERE.within(60)
    least = int(str(told.value).rpartition(" ")[2].rstrip("m"))
    lengths = HERE.within(60 * least)
    assert lengths.tuning >= LEAST_TUNING
    assert lengths.epochs >= LEAST_EPOCHS
    with pytest.raises(UserError):
        HERE.within(60 * (least - 1))


def test_profiles_differ_in_length_alone():
    found = [HERE.of_profile(profile) for profile in ("quick", "balanced", "thorough")]
    assert found == [RunLengths(16, 61), RunLengths(30, 300), RunLengths(60, 300)]
