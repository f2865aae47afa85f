"""What a table says of its own truth: corrections, noise and claims, on a device that is known."""

import dataclasses
import random

import numpy as np
import pytest

from supernet.cost.counts import count
from supernet.cost.timed_layers import StageLayer, timed_layers, timed_layers_of_space
from supernet.errors import UserError
from supernet.latency.table.baselines import baselines
from supernet.latency.table.correction import (
    FORMS,
    MIN_SHARE,
    Correction,
    LayerSums,
    Times,
    fit_correction,
    terms,
)
from supernet.latency.table.validation import (
    Accuracy,
    Noise,
    Validation,
    accuracy,
    mean_ms,
    noise,
    validation_of,
)
from tests.helpers.synthetic_device import TINY, SyntheticDevice, build, true_ms

PARTS = timed_layers_of_space(TINY)
ALONE = {part.key: Times(2 * true_ms(part), 1.2 * true_ms(part) + 0.03) for part in PARTS}
"""What parts take when they run alone."""
SPECS = [TINY.spec(TINY.sample(random.Random(seed))) for seed in range(120)]


def sums(specs):
    return LayerSums(ALONE, specs)


def fitted(specs, ms):
    return fit_correction(sums(specs), np.array(ms))


# --- corrections ------------------------------------------------------------------------------


def pool_costs_more(part):
    """An interaction: in a network, each pool shortcut and each squeeze breaks up something."""
    if not isinstance(part, StageLayer):
        return true_ms(part)
    layer = part.layer
    return true_ms(part) + 0.03 * (layer.skip == "pool") + 0.02 * (layer.se > 0)


def half_of_large_maps(part):
    """An interaction: what runs at 8 px costs half of what it does alone."""
    return true_ms(part) * (0.5 if isinstance(part, StageLayer) and part.size == 8 else 1.0)


@pytest.mark.parametrize(
    ("device", "form"),
    [(true_ms, "affine"), (pool_costs_more, "kinds"), (half_of_large_maps, "kinds and sizes")],
)
def test_the_form_is_chosen_that_the_device_needs(device, form):
    rng = np.random.default_rng(0)
    ms = np.array([sum(map(device, timed_layers(spec))) for spec in SPECS])
    found = fitted(SPECS[:80], ms[:80] * np.exp(0.002 * rng.standard_normal(80)))
    simple = found.errors["affine"]
    assert found.errors[found.form] == min(found.errors.values())
    error = accuracy(sums(SPECS[80:]).predict(found.weights), ms[80:])
    assert error.mape < 0.01
    assert error.kendall_tau > 0.97
    if form != "affine":
        assert found.form in (form, "kinds and sizes", "kinds, sizes and elements")
        assert simple > 2 * found.errors[found.form]
        rough = sums(SPECS[:80]).fit(ms[:80], np.arange(80), "affine", 1e-2)
        assert accuracy(sums(SPECS[80:]).predict(rough), ms[80:]).mape > 2 * error.mape


def test_a_form_is_judged_by_networks_that_it_was_not_fitted_to():
    """Times that follow nothing: more terms fit them better, and predict them worse."""
    ms = np.exp(0.1 * np.random.default_rng(0).standard_normal(20))
    found, (*_, largest) = sums(SPECS[:20]), FORMS
    weights = found.fit(ms, np.arange(20), largest, 1e-3)
    fitted_to = float(np.abs(found.predict(weights) / ms - 1).mean())
    assert fitted_to < 0.09
    assert found.error(ms, largest, 1e-3) > 2 * fitted_to
    assert found.error(ms, "affine", 1e-3) < found.error(ms, largest, 1e-3)


def test_sums_predict_what_the_table_does():
    weights = {"later": 0.8, "part": -0.01, "part with pool": 0.02, "later at 4 px": 0.1}
    correction = Correction("kinds and sizes", 0.01, weights, {})
    for spec, predicted in zip(SPECS, sums(SPECS).predict(weights), strict=True):
        shares = [correction.share(part, ALONE[part.key]) for part in timed_layers(spec)]
        assert predicted == pytest.approx(sum(shares))


def test_no_layer_is_free():
    (part, *_) = (one for one in PARTS if isinstance(one, StageLayer))
    none = Correction("affine", 0.01, {"part": -1.0}, {})
    assert none.share(part, Times(2.0, 1.0)) == MIN_SHARE


def test_every_term_belongs_to_the_largest_form_and_simple_ones_to_most():
    names = {name for part in PARTS for name in terms(part, ALONE[part.key])}
    held = {form: {name for name in names if FORMS[form](name)} for form in FORMS}
    assert held["scale"] < held["affine"] < held["kinds"] < held["kinds and sizes"]
    assert held["kinds and sizes"] < held["kinds, sizes and elements"] == names
    assert held["scale"] == {"later"}


# --- baselines --------------------------------------------------------------------------------


def test_baselines_are_what_they_are_called():
    ms = np.array([sum(map(true_ms, timed_layers(spec))) for spec in SPECS])
    spec = SPECS[100]
    predicted = baselines(ALONE, SPECS[:80], ms[:80], [spec])
    assert list(predicted) == ["isolated sum", "macs", "linear one-hot"]
    alone = sum(1.2 * true_ms(part) + 0.03 for part in timed_layers(spec))
    assert predicted["isolated sum"][0] == pytest.approx(alone)
    macs = np.array([count(spec).macs for spec in SPECS])
    line = baselines(ALONE, SPECS, 3.0 + 1e-6 * macs, SPECS)["macs"]
    assert accuracy(line, 3.0 + 1e-6 * macs).mape < 1e-9


def test_the_linear_model_fits_what_adds_up_over_choices():
    def added(spec):
        worth = {"conv": 0.3, "mbconv": 0.1, "none": 0.0, "pool": 0.2, "identity": 0.1}
        return 1 + sum(worth[s.op] + worth[s.skip] + 0.1 * s.repeats for s in spec.stages)

    ms = np.array([added(spec) for spec in SPECS])
    linear = baselines(ALONE, SPECS[:80], ms[:80], SPECS[80:])["linear one-hot"]
    assert accuracy(linear, ms[80:]).mape < 0.01


# --- noise ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sessions", "sd"), [(2, 0.05), (3, 0.05), (4, 0.05), (5, 0.02), (12, 0.1)]
)
def test_the_noise_floor_is_the_error_of_the_mean_of_all_sessions(sessions, sd):
    rng = np.random.default_rng(0)
    true = rng.uniform(1, 3, 4000)
    log_ms = np.log(true) + sd * rng.standard_normal((sessions, 4000))
    error = np.abs(mean_ms(log_ms) / true - 1).mean()
    assert noise(log_ms).floor == pytest.approx(error, rel=0.04)


def test_the_noise_of_a_whole_build_is_that_of_its_device(tmp_path):
    """Estimated within 20 %, from the true times that only a synthetic device has."""
    table = build(tmp_path, SyntheticDevice(noise=0.1))
    networks = [one for one in table.networks if one.role != "reference"]
    ratio = [np.log(one.ms / sum(map(true_ms, timed_layers(one.spec)))) for one in networks]
    error = np.abs(np.array(ratio) - np.mean(ratio)).mean()
    log_ms = np.array([one.log_ms for one in networks]).T
    assert noise(log_ms).floor == pytest.approx(error, rel=0.2)


def test_the_noise_floor_is_the_error_of_the_sessions_that_count():
    rng = np.random.default_rng(0)
    true = rng.uniform(1, 3, 2000)
    log_ms = np.log(true) + 0.03 * rng.standard_normal((6, 2000))
    loud = rng.random(log_ms.shape) < 0.3
    loud[:2, loud.all(0)] = False
    log_ms[loud] = np.nan
    error = np.abs(mean_ms(log_ms) / true - 1).mean()
    assert noise(log_ms).floor == pytest.approx(error, rel=0.06)
    whole = np.where(loud, np.log(true) + 5.0, log_ms)
    assert noise(whole).floor > 10 * error, "loud ones would have been noise"


def test_shares_that_noise_alone_would_allow_are_told():
    rng = np.random.default_rng(0)
    found = noise(np.log(2.0) + 0.08 * rng.standard_normal((4, 1000)))
    # The mean of four has half of the spread: 79 % of a normal one lie within 1.25 deviations.
    assert found.within_5 == pytest.approx(0.79, abs=0.03)
    assert found.within_10 > 0.97
    assert abs(found.kendall_tau) < 0.1, "these networks do not differ"


# --- what may be said -------------------------------------------------------------------------


def validation(mape, floor, sessions=4):
    return Validation(
        60, sessions, sessions, Accuracy(mape, 1.0, 1.0, 0.9, 0.0), Noise(floor, 1, 1, 0.95)
    )


def test_the_own_error_has_the_noise_taken_out():
    assert validation(0.05, 0.03).own_error == pytest.approx(0.04)
    assert validation(0.05, 0.03).verdict == "the table's own error is about 4.0%"
    assert validation(0.02, 0.03).verdict == "no error above the noise floor of 3.0% was found"
    assert "inconclusive: the noise floor of 7.0% lies above 6%" in validation(0.2, 0.07).verdict
    assert "one session shows no noise" in validation(0.2, 0.0, sessions=1).verdict


@pytest.mark.parametrize(
    ("claim", "sessions", "reason"),
    [
        (0.02, 4, "2.0% is finer than the noise floor, 3.0%"),
        (0.04, 4, "at most 4.0% is not met: it is 5.0%, of which noise is 3.0%"),
        (0.10, 3, "measured in 3 quiet sessions, a claim rests on at least 4 of each"),
    ],
)
def test_claims_that_were_not_shown_are_refused(claim, sessions, reason):
    with pytest.raises(UserError, match=reason):
        validation(0.05, 0.03, sessions).check_claim(claim)


def test_nothing_is_claimed_of_an_inconclusive_validation():
    with pytest.raises(UserError, match=r"inconclusive: the noise floor of 7\.0%"):
        validation(0.08, 0.07).check_claim(0.10)


def test_a_claim_that_was_shown_passes():
    validation(0.05, 0.03).check_claim(0.05)


def test_judging_holds_predictions_and_other_models_against_the_same_mean_ms():
    log_ms = np.log(np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]]))
    found = validation_of(np.array([1.1, 2.2, 4.4]), log_ms, {"none": np.array([4.0, 2.0, 1.0])})
    assert found.predicted.bias == pytest.approx(0.1)
    assert found.predicted.within_5 == 0.0
    assert found.baselines["none"].kendall_tau == -1.0
    assert dataclasses.astuple(found.noise) == (0.0, 1.0, 1.0, 1.0)
