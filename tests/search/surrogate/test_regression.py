"""The ridge regression: its leave-one-out errors, what it tells of noise, its intervals."""

import numpy as np
import pytest

from search.surrogate.regression import CLIP, PENALTIES, clipped, fit_ridge


def drawn(seed, noise, num=40, inputs=8):
    """Inputs, labels of a linear truth and noise, and that truth's weights."""
    rng = np.random.default_rng(seed)
    x, weights = rng.normal(size=(num, inputs)), rng.normal(size=inputs)
    return x, x @ weights + noise * rng.uniform(-1, 1, size=num), weights


def solved(inputs, labels, penalty):
    """Weights and mean of a ridge regression, by its normal equations."""
    away = inputs - inputs.mean(axis=0)
    square = away.T @ away + penalty * np.eye(inputs.shape[1])
    return np.linalg.solve(square, away.T @ (labels - labels.mean()))


@pytest.mark.parametrize(("num", "inputs"), [(40, 8), (9, 20)])
def test_errors_in_closed_form_are_those_of_leaving_each_label_out(num, inputs):
    x, y, _ = drawn(0, 3.0, num, inputs)
    y = clipped(y)
    found = fit_ridge(x, y)
    assert found.labels == pytest.approx(y)
    for place in range(num):
        others = np.arange(num) != place
        weights = solved(x[others], y[others], found.penalty)
        expected = (x[place] - x[others].mean(axis=0)) @ weights + y[others].mean()
        assert found.left_out[place] == pytest.approx(expected)
    mean_left_out = [y[np.arange(num) != place].mean() for place in range(num)]
    assert found.error_of_mean == pytest.approx(np.sqrt(np.mean((y - mean_left_out) ** 2)))


def test_the_penalty_is_that_of_the_least_error():
    x, y, _ = drawn(1, 6.0)
    errors = []
    for penalty in PENALTIES:
        left_out = []
        for place in range(len(y)):
            others = np.arange(len(y)) != place
            weights = solved(x[others], y[others], penalty)
            left_out.append((x[place] - x[others].mean(axis=0)) @ weights + y[others].mean())
        errors.append(np.mean((y - left_out) ** 2))
    assert fit_ridge(x, y).penalty == PENALTIES[np.argmin(errors)]


def test_a_truth_is_found_and_predicted():
    x, y, weights = drawn(2, 0.1)
    found = fit_ridge(x, y)
    assert found.tells
    assert found.weights == pytest.approx(weights, abs=0.1)
    assert found.predict(x) == pytest.approx(y, abs=0.5)


def test_noise_shrinks_to_the_mean_and_tells_nothing():
    found = []
    for seed in range(40):
        x, _, _ = drawn(seed, 0.0, inputs=12)
        found.append(fit_ridge(x, np.random.default_rng(1000 + seed).normal(size=len(x))))
    blind = [one for one in found if not one.tells]
    assert len(blind) >= 20
    for one in blind:
        predicted = one.predict(np.random.default_rng(0).normal(size=(100, 12)))
        assert predicted.std() < 0.2 * one.labels.std()
        assert predicted.mean() == pytest.approx(one.level, abs=0.1)


@pytest.mark.parametrize("labels", [[0.7], [0.7] * 5, [0.7] * 13])
def test_labels_that_are_all_the_same_tell_nothing(labels):
    x = np.random.default_rng(0).normal(size=(len(labels), 3))
    found = fit_ridge(x, np.array(labels))
    assert not found.tells
    assert found.predict(10 * x) == pytest.approx([0.7] * len(labels))
    assert np.isfinite(found.covariance).all()


def test_a_label_far_below_the_others_is_moved_nearer_and_one_above_stays():
    y = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 50.0, -90.0])
    reach = CLIP * 1.4826 * 2.0
    assert clipped(y).tolist() == pytest.approx([-2, -1, 0, 1, 2, 50, -reach])
    assert clipped(y[:5]).tolist() == y[:5].tolist()
    # Without any distance to go by:
    assert clipped(np.array([1.0, 1.0, 1.0, -9.0])).tolist() == [1, 1, 1, -9]


def test_one_network_that_did_not_train_changes_little():
    x, y, weights = drawn(3, 0.5)
    y[7] -= 1000
    assert fit_ridge(x, y).weights == pytest.approx(weights, abs=0.5)
