"""The recipes on icons: what is kept of them, the table, and the characters before them."""

import numpy as np
import pytest

from benchmarks.glyphs import BLOCKS, CUTS, SIDE, draw, find_characters, find_fonts
from benchmarks.recipes import RECIPES, interval, known, show
from benchmarks.record import RESULTS

SEEDS = (0, 1, 2)


def test_every_recipe_of_today_is_kept_for_three_seeds_of_the_same_icons():
    rows = known(RESULTS / "recipes.jsonl")
    assert set(rows) == {(recipe, seed) for recipe in RECIPES for seed in SEEDS}
    for seed in SEEDS:
        facts = {
            (row["images"], row["majority_share"]) for (_, n), row in rows.items() if n == seed
        }
        assert len(facts) == 1


def test_the_table_pairs_by_seed(capsys):
    rows = {("from scratch", seed): {"accuracy": 0.1 * seed} for seed in range(3)}
    rows |= {("light", seed): {"accuracy": 0.1 * seed + 0.02 + 0.01 * seed} for seed in range(3)}
    rows |= {("strong", 0): {"accuracy": 0.5}}
    show(rows)
    printed = capsys.readouterr().out
    assert "10.0 ± 10.0" in printed
    assert f"13.0 ± {100 * np.std([0.02, 0.13, 0.24], ddof=1):.1f}" in printed
    assert "+3.0 ± 2.5" in printed  # gains of 2, 3 and 4 points
    assert interval([2.0]) == interval([1.0, 1.0]) == ""


@pytest.mark.parametrize(("kind", "character"), [("ascii", "A"), ("arrows", "→"), ("symbols", "★")])
def test_a_character_fills_its_picture_in_every_cut(kind, character):
    characters = find_characters(find_fonts(), *BLOCKS[kind])
    assert len(characters) > 80
    assert min(map(len, characters.values())) >= CUTS
    for font in characters[character]:
        left, top, right, bottom = draw(character, font).getbbox()
        assert max(right - left, bottom - top) >= 0.8 * SIDE
