"""Findings: coefficients in words, lines for a person, and surrogate.json."""

import json
import math
from copy import copy
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from search.surrogate.counts import GATED, LAST_WIDTH, LAYERS, PARAMETERS, SIZE, WIDTH
from search.surrogate.findings import (
    Effect,
    effect_lines,
    effects,
    leave_one_out,
    log_round,
    means_by_origin,
    rows_in_lines,
    summary_lines,
    tau,
    write_surrogate,
)
from search.surrogate.gain import Gain
from search.surrogate.rounds import Finalist, Label
from search.surrogate.surrogate import Surrogate
from search.surrogate.tunings import Tuning
from supernet.cost.model import CLOSED_FORMS
from supernet.space.mnasnet import MnasSpace
from tests.helpers.toys import toy_objective

SPACE = MnasSpace(width=0.35, resolution=16, classes=10, stem_stride=1, head=256)
PLANTED = {
    LAYERS: 0.002,
    "conv": 0.006,
    "mbconv6": 0.003,
    "sepconv": -0.004,
    "kernel 5": 0.002,
    "shortcut identity": 0.003,
    "shortcut none": -0.002,
    GATED: 0.001,
    PARAMETERS: 1e-7,
    SIZE: 0.004,
    WIDTH: 0.01,
    LAST_WIDTH: -0.005,
}
"""Accuracy that one more of a count adds."""


def tuned(surrogate, num, noise=0.0, weights=PLANTED):
    """Tunings whose accuracy is linear in the counts, and whose loss falls with it."""
    codes = [SPACE.encode(SPACE.canonical(arch)) for arch in islice(SPACE.samples(1), num)]
    counts = surrogate.counts.of(torch.tensor(codes)).numpy()
    planted = np.array([weights.get(name, 0.0) for name in surrogate.counts.names])
    accuracies = 0.3 + (counts - surrogate.centre) @ planted
    accuracies += noise * np.random.default_rng(0).normal(size=num)
    return [
        Tuning(code, 10, 2 - 3 * accuracy, accuracy, math.nan, accuracy)
        for code, accuracy in zip(codes, accuracies.tolist(), strict=True)
    ]


@pytest.fixture(scope="module")
def surrogate():
    """Fitted to so many networks that it must find what was planted."""
    surrogate = Surrogate(SPACE)
    surrogate.fit(tuned(surrogate, 400))
    return surrogate


def test_words_say_exactly_what_was_planted(surrogate):
    found = {one.change: one.points for one in effects(surrogate)}
    mean = dict(zip(surrogate.counts.names, surrogate.centre, strict=True))

    def of_mean(*names):
        return sum(PLANTED.get(name, 0) * mean[name] for name in names) / mean[LAYERS]

    op = of_mean("conv", "mbconv3", "mbconv6", "sepconv")
    kernel = of_mean("kernel 3", "kernel 5")
    shortcut = of_mean("shortcut identity", "shortcut none", "shortcut pool")
    expected = {
        "one more layer": PLANTED[LAYERS] + op + kernel + shortcut,
        "each conv layer instead of the mean op": PLANTED["conv"] - op,
        "each mbconv3 layer instead of the mean op": -op,
        "each mbconv6 layer instead of the mean op": PLANTED["mbconv6"] - op,
        "each sepconv layer instead of the mean op": PLANTED["sepconv"] - op,
        "each kernel 3 instead of the mean kernel": -kernel,
        "each kernel 5 instead of the mean kernel": PLANTED["kernel 5"] - kernel,
        "each identity shortcut instead of the mean shortcut": PLANTED["shortcut identity"]
        - shortcut,
        "each layer without shortcut instead of the mean shortcut": PLANTED["shortcut none"]
        - shortcut,
        "each pool shortcut instead of the mean shortcut": -shortcut,
        "each squeeze-and-excitation": PLANTED[GATED],
        "each block twice as wide": PLANTED[WIDTH] * math.log(2),
        "the last block twice as wide": (PLANTED[WIDTH] + PLANTED[LAST_WIDTH]) * math.log(2),
        "each block of twice the parameters": PLANTED[SIZE] * math.log(2),
        "a tenth more parameters than the mean": PLANTED[PARAMETERS] * mean[PARAMETERS] / 10,
    }
    assert found.keys() == expected.keys()
    # The mildest penalty shares what goes together, such as layers and parameters, a little.
    for name, value in expected.items():
        assert found[name] == pytest.approx(100 * value, abs=0.06), name


def test_a_real_change_of_a_network_has_the_effect_that_words_give_it(surrogate):
    """One op for another: the difference of two effects, but for what parameters add."""
    by_change = {one.change: one.points for one in effects(surrogate)}
    arch = next(iter(SPACE.samples(5)))
    archs = [
        replace(arch, blocks=(replace(arch.blocks[0], op=op, layers=0), *arch.blocks[1:]))
        for op in ("conv", "sepconv")
    ]
    rows = torch.tensor([SPACE.encode(one) for one in archs])
    counts = surrogate.counts.of(rows)
    names = surrogate.counts.names
    changed = (counts[0] - counts[1]).tolist()
    difference = dict(zip(names, changed, strict=True))
    layers = difference["conv"]
    assert difference["sepconv"] == -layers < 0
    worth = {
        name: by_change[f"each {name} layer instead of the mean op"] for name in ("conv", "sepconv")
    }
    of_parameters = 100 * sum(PLANTED[name] * difference[name] for name in (PARAMETERS, SIZE))
    real = 100 * sum(PLANTED.get(name, 0) * value for name, value in difference.items())
    expected = layers * (worth["conv"] - worth["sepconv"]) + of_parameters
    assert real == pytest.approx(expected, abs=0.1)


def test_errors_of_effects_say_how_far_they_are_off(surrogate):
    truth = {one.change: one.points for one in effects(surrogate)}
    learned = copy(surrogate)
    learned.fit(tuned(surrogate, 48, noise=0.02))
    found = effects(learned)
    assert all(one.error > 0 for one in found)
    near = [abs(one.points - truth[one.change]) < 2.5 * one.error for one in found]
    assert sum(near) >= len(found) - 1


def test_a_choice_that_a_space_has_not_is_left_out():
    space = replace(SPACE, kernels=(3,), layers=(0,), base_layers=(1,) * 7)
    surrogate = Surrogate(space)
    codes = [space.encode(arch) for arch in islice(space.samples(1), 10)]
    surrogate.fit([Tuning(code, 10, 2.0 + place, 0.1 * place) for place, code in enumerate(codes)])
    changes = " ".join(one.change for one in effects(surrogate))
    assert "kernel" not in changes
    assert "one more layer" not in changes
    assert "conv" in changes


def test_lines_name_the_strongest_effects_that_are_certain():
    found = [Effect("small", 0.2, 0.01), Effect("vague", 3.0, 2.0), Effect("large one", -1.0, 0.4)]
    assert effect_lines(found, 10) == [
        "points of accuracy after 10 steps, at equal other counts:",
        "  large one  -1.00 +- 0.40",
        "  small      +0.20 +- 0.01",
    ]
    many = [Effect(f"change {place}", 1.0, 0.1) for place in range(9)]
    assert len(effect_lines(many, 10)) == 5


def test_lines_say_when_nothing_is_certain():
    line = "no count shows an effect on the accuracy after 10 steps"
    assert effect_lines([Effect("vague", 3.0, 2.0), Effect("none", 0.0, 0.0)], 10) == [line]


def label(origin, target, loss, accuracy=0.2):
    return Label(Tuning((0,), 10, loss, accuracy), 0, origin, target)


def test_means_of_origins_weigh_targets_alike():
    labels = [label("uniform", 0, 1.0), label("uniform", 0, 2.0), label("uniform", 1, 5.0)]
    labels += [label("proposed", 0, 1.0), label("proposed", 1, 4.0), label("proposed", 1, 4.0)]
    means = means_by_origin(labels)
    assert (means["uniform"].num, means["uniform"].loss) == (3, 3.25)
    assert (means["proposed"].num, means["proposed"].loss) == (3, 2.5)


def test_a_target_that_only_one_kind_has_is_not_compared():
    labels = [label("uniform", 0, 1.0), label("uniform", 1, 9.0), label("proposed", 0, 0.5)]
    means = means_by_origin(labels)
    assert (means["uniform"].loss, means["proposed"].loss) == (1.0, 0.5)
    assert means_by_origin(labels[:2])["uniform"].loss == 5.0


@pytest.fixture
def rounds(surrogate):
    """What stands for the rounds of a search without shared weights."""
    tunings = tuned(surrogate, 48)
    learned = copy(surrogate)
    learned.fit(tunings)
    labels = [
        Label(one, place // 32, "proposed" if place > 35 else "uniform", 0)
        for place, one in enumerate(tunings)
    ]
    finalists = [
        Finalist(replace(one, steps=40, val_accuracy=0.5), 0, -1.5, -1.4) for one in tunings[-3:]
    ]
    objective = toy_objective(None, 1.0, space=SPACE, cost_model=CLOSED_FORMS["macs"])
    logged = []
    logger = SimpleNamespace(log_metrics=lambda values, step: logged.append((step, values)))
    module = SimpleNamespace(
        shared_steps=0,
        steps_done=0,
        lengths=SimpleNamespace(label=10, final=40),
        trainer=SimpleNamespace(is_global_zero=True, loggers=[logger]),
    )
    return SimpleNamespace(
        module=module,
        objective=objective,
        surrogate=learned,
        labels=labels,
        finalists=finalists,
        updates=30,
        logged=logged,
    )


def test_the_summary_says_what_was_learned(rounds):
    lines = summary_lines(rounds)
    assert lines[0] == "learned from 48 networks (36 uniform, 12 proposed), tuned for 10 steps each"
    assert lines[1] == "no weights were shared: each of the 48 networks began afresh"
    assert lines[2].startswith("predicted against tuned, each left out: loss to ")
    assert lines[3].startswith("uniform against proposed: loss ")
    assert len(lines) <= 9
    rounds.module.shared_steps = 5
    assert not any("afresh" in line for line in summary_lines(rounds))


def test_a_round_is_logged_at_the_controllers_next_update(rounds):
    log_round(rounds)
    ((step, values),) = rounds.logged
    assert step == 30
    newest = [one for one in rounds.labels if one.round == 1]
    proposed = [one.tuning.loss for one in newest if one.origin == "proposed"]
    assert values["labels/number"] == 48
    assert values["labels/proposed_loss"] == pytest.approx(np.mean(proposed))
    assert values["surrogate/leave_one_out_error"] == rounds.surrogate.ridge.error
    assert values["surrogate/tau"] > 0.8


def test_other_ranks_log_nothing(rounds):
    rounds.module.trainer.is_global_zero = False
    log_round(rounds)
    assert rounds.logged == []


def test_a_single_label_has_no_tau_and_is_no_warning():
    assert math.isnan(tau([1.0], [1.0]))


def test_labels_that_tell_nothing_apart_have_no_tau(rounds):
    rounds.surrogate.fit([replace(one.tuning, loss=2.0) for one in rounds.labels])
    assert leave_one_out(rounds)["tau"] is None
    log_round(rounds)
    assert "surrogate/tau" not in rounds.logged[0][1]


def test_surrogate_json_holds_a_network_in_a_line(rounds, tmp_path):
    path, chosen = tmp_path / "surrogate.json", rounds.finalists[1].tuning.code
    write_surrogate(path, rounds, {"p40": Gain(0.1, 0.0, 0.2, 10, 48)}, [chosen])
    lines = path.read_text().splitlines()
    assert sum('"left_out_loss"' in line for line in lines) == 48
    held = json.loads(path.read_text())
    assert held["expected"]["p40"]["value"] == 0.1
    assert [row["chosen"] for row in held["finalists"]] == [False, True, False]
    first, tuning = held["labels"][0], rounds.labels[0].tuning
    assert (tuple(first["arch"]), first["loss"]) == (tuning.code, tuning.loss)
    arch = SPACE.decode(first["arch"])
    assert first["cost"] == CLOSED_FORMS["macs"].predict(SPACE.spec(arch))
    assert -rounds.surrogate.ridge.left_out[0] == first["left_out_loss"]
    assert held["leave_one_out"]["error"] == rounds.surrogate.ridge.error


def test_rows_in_lines_are_json():
    content = {"a": 1, "rows": [{"x": [1, 2]}, {"x": []}], "none": [], "deep": {"b": None}}
    text = rows_in_lines(content)
    assert json.loads(text) == content
    assert text.count("\n") == 9
