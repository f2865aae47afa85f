"""benchmarks/search_cost adds up what a search of ImageNet takes."""

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.gpu_check.rows import RATES
from benchmarks.search_cost import model
from benchmarks.search_cost.model import IMAGES, Cost, Drawn, Rates, Recipe
from benchmarks.search_cost.tables import images_per_core, variants
from tests.helpers.tiny import SPACE

CONFIGS = Path("configs/imagefolder")


@pytest.fixture(scope="module")
def recipe():
    return Recipe.read(CONFIGS)


@pytest.fixture(scope="module")
def drawn(recipe):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "NUM_PATHS", 20)
        found = Drawn(recipe)
        assert found.macs["warm-up"] > found.macs["uniform"] > 0
    return found


@pytest.fixture
def cost(recipe, drawn, tmp_path):
    rates = Rates.read(tmp_path / "none.jsonl")
    return lambda gpus: Cost(recipe, drawn, rates, gpus)


def test_lengths_are_those_of_the_search(cost):
    """docs/search-method.md, lengths."""
    eight = cost(8)
    assert (eight.steps, eight.shared_steps) == (135_120, 33_780)
    assert eight.lengths == (1689, 1689)


def test_parts_add_up_to_what_is_trained_on(cost):
    for gpus in (1, 8):
        one = cost(gpus)
        shared = one.images("warm-up") + one.images("uniform")
        assert shared == one.shared_steps * one.recipe.batch * gpus
        assert one.images("tunings") <= (one.steps - one.shared_steps) * one.recipe.batch
    assert cost(1).images("retraining") == IMAGES * cost(1).recipe.retraining_epochs


def test_hours_are_those_of_the_busiest_gpu(cost):
    eight, many = cost(8), cost(64)
    assert eight.hours("uniform") == pytest.approx(eight.gpu_hours("uniform") / 8)
    # Of 60 networks in rounds of 44, 6, 6 and 4, one gpu has 6 + 1 + 1 + 1.
    assert eight.hours("tunings") == pytest.approx(eight.gpu_hours("tunings") * 9 / 60)
    assert many.hours("tunings") == pytest.approx(many.gpu_hours("tunings") * 4 / 60)


def test_an_assumed_speed_is_said_and_a_measured_one_is_taken(tmp_path, cost):
    assert cost(1).speed("retraining") == pytest.approx(1500 / 0.8, rel=1e-6)
    assert cost(1).rates.source.startswith("assumed")
    rows = tmp_path / "rows.jsonl"
    lines = [
        {"device": "H100", "commit": "abc", "name": name, "value": 1e12 * number}
        for number, name in enumerate(RATES.values(), 1)
    ]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines[:2]))
    assert Rates.read(rows).source.startswith("assumed")  # a check that was cut short
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = Rates.read(rows)
    assert found.source == "measured on one H100 (abc)"
    assert found.by_kind["alone"] == 3e12


def test_more_ranks_exchange_more_and_one_exchanges_nothing(recipe, monkeypatch):
    monkeypatch.setattr(model, "NUM_STEPS", 2)
    drawn = Drawn(dataclasses.replace(recipe, space=SPACE))
    sent = [drawn.gradient_bytes(ranks)["uniform"] for ranks in (1, 2, 8)]
    full = 4 * sum(one.numel() for one in model.meta_supernet(SPACE).parameters())
    assert sent[0] == 0 < sent[1] < sent[2] <= full


def test_spaces_differ_in_size(recipe):
    spaces = variants(recipe.space)
    weights = {
        name: sum(one.numel() for one in model.meta_supernet(space).parameters())
        for name, space in spaces.items()
        if name in ("the paper's", "2 blocks more", "half of the width")
    }
    assert weights["half of the width"] < weights["the paper's"] < weights["2 blocks more"]
    assert len({space.num_blocks for space in spaces.values()}) == 3


def test_the_speed_of_reading_is_measured():
    speed, where = images_per_core()
    assert speed > 100
    assert "EPYC" in where
