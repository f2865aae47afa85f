"""Whether the reward in int8 pays: what is kept of each search, its pairs, and what is printed."""

import json
import math

import pytest

from benchmarks.int8_reward import Chain, figures, known, pairs_of, show
from benchmarks.record import RESULTS
from supernet.arch_file import read_arch
from supernet.latency.table.table import LatencyTable
from tests.helpers.tables import random_table
from tests.helpers.tiny import write_tiny_arch

TARGETS, SEEDS = ("p30", "p50", "p70"), (0, 1, 2)


def made_up(gain: float, ratio: float) -> list[dict]:
    """Rows in which the reward in int8 gains so many points, one more or less, and so much time."""
    return [
        {
            "reward": reward,
            "target": target,
            "seed": seed,
            "commit": "0",
            "int8_ms": 0.1 * (ratio if reward == "int8" else 1),
            "fp32_ms": 0.05,
            "int8_accuracy": 0.6 + ((gain + seed - 1) / 100 if reward == "int8" else 0),
        }
        for target in TARGETS
        for seed in SEEDS
        for reward in ("fp32", "int8")
    ]


def test_gains_are_those_of_pairs_with_their_intervals(capsys):
    show(made_up(2.0, 1.1), TARGETS)
    *_, points, percent = capsys.readouterr().out.splitlines()
    # Student's t of 9 values of which a third each is 1, 2 and 3.
    half = 2.306 * math.sqrt(0.75 / 9)
    assert points.endswith(f"fp32: 2.00 [{2 - half:.2f} {2 + half:.2f}]")
    assert percent.endswith(f"fp32: {100 * math.log(1.1):.2f}")


def test_a_search_without_its_counterpart_is_left_out():
    rows = made_up(1.0, 1.0)
    assert len(pairs_of(rows[1:])) == len(pairs_of(rows)) - 1


def test_int8_is_asked_for_the_time_that_the_choice_of_fp32_takes(tmp_path, monkeypatch):
    (tmp_path / "fp32-p30-0").mkdir()
    arch = read_arch(write_tiny_arch(tmp_path / "fp32-p30-0" / "arch.json"))
    for name in ("fp32", "int8"):
        random_table(arch.space, 0).write(tmp_path / f"{name}.json")
    asked = []
    monkeypatch.setattr(Chain, "_run", staticmethod(lambda *words, **_: asked.append(words)))
    monkeypatch.setattr("benchmarks.int8_reward.figures", lambda *_: {})
    Chain(tmp_path).measure("int8", "p30", 0)
    line = list(asked[0])
    expected = LatencyTable.read(tmp_path / "int8.json").predict(arch.spec)
    assert line[line.index("--model.target") + 1] == expected
    assert line[line.index("--model.table") + 1] == tmp_path / "int8.json"


def test_figures_are_of_the_choice_also_where_its_file_may_not_ship(tmp_path, monkeypatch):
    write_tiny_arch(tmp_path / "arch.json")
    judged = {"accuracy": 0.7, "fp32_accuracy": 0.75, "images": 100}
    formats = {"onnx-int8": {"failure": "too far", "accuracy": judged}}
    (tmp_path / "export.json").write_text(json.dumps({"formats": formats}))
    times = {"fp32": [1.0], "int8": [2.0]}
    monkeypatch.setattr(
        "benchmarks.int8_reward.measure_specs", lambda specs, among, precision: times[precision]
    )
    arch = read_arch(tmp_path / "arch.json")
    assert figures(tmp_path, tmp_path) == {
        "blocks": arch.spec.block_strings(),
        "limit": arch.target,
        "fp32_ms": 1.0,
        "int8_ms": 2.0,
        "fp32_accuracy": 0.75,
        "int8_accuracy": 0.7,
        "test_images": 100,
        "refused": "too far",
    }


@pytest.mark.parametrize("reward", ["fp32", "int8"])
def test_three_searches_are_kept_for_each_target(reward):
    kept = {key[1:] for key in known(RESULTS / "int8_reward.jsonl") if key[0] == reward}
    assert kept == {(target, seed) for target in TARGETS for seed in SEEDS}
