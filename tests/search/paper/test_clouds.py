"""Clouds: what a controller samples under each reward, and what is said of them."""

from itertools import islice

import numpy as np
import pytest
import torch

from search.paper.cloud_report import cloud_conclusion, cloud_tables, draw_clouds
from search.paper.clouds import (
    CloudJob,
    CloudReward,
    CloudRunner,
    CloudScale,
    LabelledSearch,
    describe,
    num_undominated,
)
from supernet.errors import UserError
from tests.helpers.labelled_search import TARGET, write_search
from tests.helpers.tiny import SEARCHED

HARD = CloudReward("hard", "hard", 0.0, -1.0)
SOFT = CloudReward("soft", "soft", -0.07, -0.07)
RULE = CloudReward("by rule", "soft", by_rule=True)


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    return LabelledSearch(write_search(tmp_path_factory.mktemp("some") / "search", 0.1), TARGET)


def cloud(search, reward, samples):
    """The row of a cloud of a search, whose folder need not be read again."""
    runner = CloudRunner(CloudScale("tiny", target=TARGET), samples, {})
    runner.searches[0] = search
    return runner(CloudJob(reward, 0))


def test_under_the_rule_s_exponent_the_best_networks_of_twice_the_cost_are_worth_the_same(search):
    exponent = search.rule()
    assert exponent < 0
    reward = RULE.at(exponent)
    ends = [search.target * 2**power for power in (-0.5, 0.5)]
    worth = [reward(search.best_accuracy(cost), cost, search.target) for cost in ends]
    assert worth[0] == pytest.approx(worth[1])


def test_the_best_accuracy_is_that_of_no_network_that_costs_more(search):
    codes = torch.tensor([SEARCHED.encode(arch) for arch in islice(SEARCHED.samples(2), 300)])
    accuracies = search.surrogate.accuracies(codes)
    within = search.objective.costs.of(codes) <= search.target
    assert 0 < within.sum() < 300
    assert search.best_accuracy(search.target) >= float(accuracies[within].max())
    assert search.best_accuracy(search.target) <= search.best_accuracy(2 * search.target)


def test_where_cost_gains_nothing_the_rule_s_exponent_is_nearly_zero(tmp_path):
    costly = LabelledSearch(write_search(tmp_path / "search", gain=-0.1), TARGET)
    assert -0.01 < costly.rule() <= 0


def test_hard_keeps_a_controller_within_the_target_and_too_mild_a_reward_leads_it_beyond(search):
    hard, soft = (cloud(search, reward, 200) for reward in (HARD, SOFT))
    assert soft["rule"] < soft["alpha"] - 0.03  # doubling gains more than this reward takes
    assert hard["later"]["within"] > soft["later"]["within"] + 0.4
    assert hard["later"]["high"] < soft["later"]["high"]


def test_a_cloud_is_a_function_of_what_identifies_it_and_its_numbers_follow_from_it(search):
    once, again = (cloud(search, SOFT, 50) for _ in range(2))
    del once["cpu_seconds"], again["cpu_seconds"]
    assert once == again
    assert len(once["cost"]) == len(once["accuracy"]) == 50
    assert (once["alpha"], once["beta"], once["updates"]) == (-0.07, -0.07, 3)
    told = describe(np.array(once["cost"]) / once["target"], np.array(once["accuracy"]))
    assert told == pytest.approx(once["all"], abs=1e-3)
    assert once["cloud"] != cloud(search, SOFT, 60)["cloud"]


def test_a_cloud_is_described():
    ratio = np.array([0.4, 0.9, 1.0, 1.04, 2.0])
    told = describe(ratio, np.array([0.1, 0.2, 0.2, 0.3, 0.25]))
    assert {name: told[name] for name in ("within", "near", "fast", "slow", "front")} == {
        "within": 0.6,
        "near": 0.4,
        "fast": 0.2,
        "slow": 0.2,
        "front": 3,
    }
    assert told["spread"] == pytest.approx(told["high"] - told["low"])


def test_the_front_of_a_cloud_counts_networks_once_that_nothing_beats():
    rng = np.random.default_rng(0)
    cost, accuracy = rng.integers(0, 12, (2, 80)).astype(float)
    points = set(zip(cost.tolist(), accuracy.tolist(), strict=True))
    best = [
        one
        for one in points
        if not any(o != one and o[0] <= one[0] and o[1] >= one[1] for o in points)
    ]
    assert num_undominated(cost, accuracy) == len(best)


def row(within, spread, seed=0):
    told = {"within": within, "near": 0.1, "fast": 0.1, "slow": 0.1, "front": 5}
    told |= {"low": 0.5, "middle": 0.9, "high": 0.5 + spread, "spread": spread}
    cloud = {"cost": [8.0, 12.0], "accuracy": [0.5, 0.6], "target": 10.0, "unit": "ms"}
    reward = {"kind": "soft", "alpha": -0.07, "beta": -0.07}
    return {"seed": seed, "all": told, "later": told, **cloud, **reward}


def rows(hard, soft):
    """Clouds of three seeds that differ a little: shares within the target, and spreads."""
    small = (0, 0.01, 0.02)
    return {
        name: [row(within + one, spread - one / 2) for one in small]
        for name, (within, spread) in (("hard", hard), ("soft", soft))
    }


@pytest.mark.parametrize(
    ("soft", "said"),
    [((0.5, 1.2), "as figure 6 says"), ((0.5, 0.5), "against figure 6")],
    ids=["wider", "narrower"],
)
def test_the_conclusion_says_whether_the_clouds_are_those_of_the_paper(soft, said):
    told = cloud_conclusion(rows((0.9, 0.7), soft), "hard", ["soft"])
    assert told.count(said) == 2
    assert "hard has 40" in told


def test_the_conclusion_leaves_open_what_one_seed_shows():
    one = {name: own[:1] for name, own in rows((0.9, 0.7), (0.5, 1.2)).items()}
    assert cloud_conclusion(one, "hard", ["soft"]).count("one seed cannot tell") == 2


def test_tables_and_figure_hold_each_reward():
    found = rows((0.9, 0.7), (0.5, 1.2))
    tables = cloud_tables(found)
    assert [*tables] == ["all samples", "later half of the samples"]
    cells = tables["all samples"]["hard"]
    assert cells["within target, %"].value == pytest.approx(91)
    assert cells["alpha, beta"] == "-0.07, -0.07"
    left, right = draw_clouds(found, [["hard", "soft"]]).axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["hard", "soft"]
    assert len(right.collections) == 2


def test_exponents_of_the_rule_cannot_be_given_as_well():
    with pytest.raises(UserError, match="by_rule, which gives alpha and beta"):
        CloudReward("both", "soft", -0.07, -0.07, by_rule=True)


def test_a_folder_without_a_surrogate_is_refused(tmp_path):
    with pytest.raises(UserError, match="no surrogate"):
        LabelledSearch(tmp_path, TARGET)
