"""The figure of a surrogate: drawn from surrogate.json, saying what that says."""

import json

import numpy as np
import pytest
from matplotlib.text import Text

from search.surrogate.figure import ORIGIN_COLORS, draw_surrogate, read_known
from supernet.errors import UserError
from tests.helpers.surrogate_file import content


@pytest.fixture
def known(tmp_path):
    def read(**changes):
        path = tmp_path / "surrogate.json"
        path.write_text(json.dumps({**content(), **changes}))
        return read_known(path)

    return read


def texts(figure):
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def test_each_kind_of_label_is_drawn_against_its_prediction(known):
    held = known()
    predicted = draw_surrogate(held).axes[0]
    for dots, origin in zip(predicted.collections, ORIGIN_COLORS, strict=True):
        rows = [row for row in held.labels if row["origin"] == origin]
        expected = [[row["left_out_loss"], row["loss"]] for row in rows]
        assert dots.get_offsets().tolist() == expected


def test_each_round_has_its_labels_and_the_means_of_their_kinds(known):
    held = known()
    rounds = draw_surrogate(held).axes[1]
    sizes = [len(dots.get_offsets()) for dots in rounds.collections]
    assert sum(sizes) == 48
    means = {line.get_ydata()[0] for line in rounds.lines}
    first = [row["loss"] for row in held.labels if row["round"] == 0]
    assert np.mean(first) in means
    assert len(means) == len(sizes) == 5


@pytest.mark.parametrize("targets", [("p40",), ("p20", "p40", "p70")])
def test_finalists_of_each_target_have_one_that_is_chosen(known, targets):
    held = known(**{name: content(targets)[name] for name in ("targets", "finalists")})
    finalists = draw_surrogate(held).axes[2]
    *dots, stars = finalists.collections
    assert [len(one.get_offsets()) for one in dots] == [12] * len(targets)
    chosen = [[row["predicted_loss"], row["loss"]] for row in held.finalists if row["chosen"]]
    assert stars.get_offsets().tolist() == chosen
    if len(targets) > 1:
        assert set(targets) <= set(texts(draw_surrogate(held)))


def test_each_effect_is_a_bar_with_two_standard_errors(known):
    figure = draw_surrogate(known())
    bars = figure.axes[3].patches
    assert [bar.get_width() for bar in bars] == [-0.2, 0.5]
    (lines,) = figure.axes[3].collections
    ends = [path.vertices[:, 0].tolist() for path in lines.get_paths()]
    assert np.array(ends) == pytest.approx(np.array([[-0.8, 0.4], [0.3, 0.7]]))
    assert "error 0.031, of the mean 0.05 nats" in texts(figure)


def test_no_words_touch(known):
    points = [
        {"change": f"each identity shortcut number {place} instead", "points": place, "error": 1.0}
        for place in range(16)
    ]
    targets = ("p20", "p40", "p70")
    changed = {name: content(targets)[name] for name in ("targets", "finalists", "labels")}
    figure = draw_surrogate(known(points=points, **changed))
    figure.draw_without_rendering()
    width, height = figure.bbox.width, figure.bbox.height
    ticks = {tick for axes in figure.axes for tick in axes.get_xticklabels()}
    ticks |= {tick for axes in figure.axes[:3] for tick in axes.get_yticklabels()}
    shown = [text for text in figure.findobj(Text) if text.get_text() and text not in ticks]
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown]
    boxes = [(text, box) for text, box in boxes if box.width > 1]
    for place, (one, box) in enumerate(boxes):
        assert box.x0 >= 0, one
        assert box.x1 <= width, one
        assert box.y0 >= 0, one
        assert box.y1 <= height, one
        for other, beside in boxes[place + 1 :]:
            apart = box.x1 <= beside.x0 + 1 or beside.x1 <= box.x0 + 1
            apart = apart or box.y1 <= beside.y0 + 1 or beside.y1 <= box.y0 + 1
            assert apart, (one, other)


def test_a_search_that_did_not_tune_to_learn_has_none(tmp_path):
    assert read_known(tmp_path / "surrogate.json") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": []},
        {"labels": [{"round": 0}]},
        {"points": [{"change": "x", "points": "much", "error": 1.0}]},
        {"finalists": []},
        {"targets": ["p40", "p50"]},
        {"leave_one_out": {}},
        {"label_steps": "ten"},
        {"labels": [{**content()["labels"][0], "origin": "somewhere"}]},
    ],
)
def test_a_broken_file_is_refused_by_name(known, changes):
    with pytest.raises(UserError, match=r"surrogate\.json is broken"):
        known(**changes)
