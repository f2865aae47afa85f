"""Whether the reward in int8 pays: what is kept of each search, pairs, and the comparison."""

import json

import numpy as np
import pytest

from benchmarks.int8_reward import figures, known, pairs_of, ratio_at_equal_accuracy, show
from benchmarks.record import RESULTS
from supernet.arch_file import read_arch
from tests.helpers.tiny import write_tiny_arch

TARGETS, SEEDS = ("p30", "p50", "p70"), (0, 1, 2)


def made_up(ratio: float, noise: float = 0.0) -> list[dict]:
    """Rows in which the reward in int8 finds what takes ``ratio`` of the time at equal accuracy."""
    random, rows = np.random.default_rng(0), []
    for place, target in enumerate(TARGETS):
        for seed in SEEDS:
            for reward in ("fp32", "int8"):
                ms = 0.1 * (1 + place) * (1.1 if reward == "int8" else 1.0)
                alike = ms / ratio if reward == "int8" else ms
                accuracy = 0.8 + 0.1 * np.log(alike) + noise * random.normal()
                rows.append(
                    {
                        "reward": reward,
                        "target": target,
                        "seed": seed,
                        "commit": "0",
                        "int8_ms": ms,
                        "fp32_ms": ms / 2,
                        "int8_accuracy": accuracy,
                    }
                )
    return rows


@pytest.mark.parametrize("ratio", [0.8, 1.0, 1.2])
def test_the_ratio_of_times_is_that_at_equal_accuracy(ratio):
    assert ratio_at_equal_accuracy(pairs_of(made_up(ratio))) == pytest.approx(ratio)


def test_a_search_without_its_counterpart_is_left_out():
    rows = made_up(0.8)
    assert len(pairs_of(rows[1:])) == len(pairs_of(rows)) - 1


def test_the_interval_of_equal_rewards_holds_one(capsys):
    show(made_up(1.0, noise=0.01), TARGETS)
    line = capsys.readouterr().out.splitlines()[-1]
    low, high = line[line.index("[") + 1 : line.index("]")].split()
    assert float(low) < 1 < float(high)


def test_figures_are_of_the_choice_also_where_its_file_may_not_ship(tmp_path, monkeypatch):
    write_tiny_arch(tmp_path / "arch.json")
    judged = {"accuracy": 0.7, "fp32_accuracy": 0.75, "images": 100}
    formats = {"onnx-int8": {"failure": "too far", "accuracy": judged}}
    (tmp_path / "export.json").write_text(json.dumps({"formats": formats}))
    times = {"fp32": [1.0], "int8": [2.0]}
    monkeypatch.setattr(
        "benchmarks.int8_reward.measure_specs", lambda specs, among, precision: times[precision]
    )
    assert figures(tmp_path, tmp_path) == {
        "predicted": read_arch(tmp_path / "arch.json").predicted,
        "fp32_ms": 1.0,
        "int8_ms": 2.0,
        "fp32_accuracy": 0.75,
        "int8_accuracy": 0.7,
        "test_images": 100,
        "refused": "too far",
    }


def test_three_searches_of_each_reward_are_kept_for_each_target():
    kept = set(known(RESULTS / "int8_reward.jsonl"))
    assert kept == {(reward, t, s) for reward in ("fp32", "int8") for t in TARGETS for s in SEEDS}
