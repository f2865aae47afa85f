"""Step times: what is timed, what follows, and how it is said."""

import time

import pytest

from supernet.training import step_times
from supernet.training.step_times import TimeLeft, batch_seconds, duration, time_steps


def test_the_first_time_of_a_step_is_told_from_the_later(monkeypatch):
    seconds = iter([0.04, 0.01, 0.03, 0.01])
    found = time_steps([lambda: time.sleep(next(seconds))] * 2)
    assert found.first == pytest.approx(0.03, abs=0.009)
    assert found.later == pytest.approx(0.01, abs=0.009)
    assert time_steps([lambda: None], waits=True).busy == 1


def test_no_step_is_begun_after_its_time(monkeypatch):
    monkeypatch.setattr(step_times, "MEASURE_S", 0.0)
    done = []
    time_steps([lambda: done.append(1)] * 5)
    assert len(done) == 2


@pytest.mark.parametrize(
    ("readers", "cores", "waits", "seconds"),
    [
        (0, 8, False, 0.5),  # alone: one after the other
        (0, 8, True, 0.5),
        (4, 2, False, 0.3),  # the cores share the reading
        (4, 8, True, 0.1),  # four read while the GPU computes
        (1, 8, True, 0.4),  # but one is too slow for it
        (4, 2, True, 0.2),
    ],
)
def test_reading_beside_a_step(readers, cores, waits, seconds):
    assert batch_seconds(0.1, 0.4, readers, cores, waits) == pytest.approx(seconds)


def test_times_in_words():
    assert [duration(s) for s in (40.4, 600, 5340, 7200)] == ["40 s", "10 min", "89 min", "2.0 h"]


def test_what_is_left_in_words():
    images = "1,221 images of 6 classes at 96 px"
    whole, rest, short = TimeLeft(4000, 4000, 2400), TimeLeft(20, 4000, 12), TimeLeft(9, 9, None)
    assert whole.words(images) == f"{images}: 4,000 steps, about 40 min here (estimate)"
    assert rest.words(images) == (f"{images}: 20 of 4,000 steps left, about 12 s here (estimate)")
    assert short.words(images) == f"{images}: 9 steps"
