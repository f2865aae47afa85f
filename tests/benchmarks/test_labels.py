"""What tunings are said to tell."""

import numpy as np
import pytest

from benchmarks.labels import NUM, taus
from search.rank.statistics import Yardstick


def yardstick(truth):
    return Yardstick(truth[:, None], np.arange(len(truth)) % 3, np.ones(len(truth)), resamples=1)


@pytest.mark.parametrize("trained", [NUM, 20, 12])
def test_each_set_is_judged_by_its_own_networks_as_many_as_were_trained(trained):
    scores = np.random.default_rng(0).permutation(2 * NUM).astype(float)
    right, wrong = scores[:trained], -scores[NUM:][:trained]
    assert taus(scores, [yardstick(right), yardstick(right * 2)])[0] < 1
    assert taus(scores, [yardstick(right), yardstick(wrong)]) == pytest.approx([0, 0])
    assert taus(scores, [yardstick(right), yardstick(-wrong)]) == pytest.approx([1, 1])
