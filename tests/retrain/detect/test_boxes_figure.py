"""Figure of a test's boxes: where they lie on the page, and which are drawn."""

import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from retrain.detect.boxes_figure import ACCENT, TRUE, ShownImage, draw_boxes


def test_true_boxes_and_found_ones_of_some_score_are_drawn_where_they_are():
    true = {"boxes": torch.tensor([[2.0, 3.0, 12.0, 23.0]]), "labels": torch.tensor([2])}
    found = {
        "boxes": torch.tensor([[1.0, 2.0, 3.0, 4.0], [9.0, 10.0, 20.0, 21.0], [0.0, 0, 5, 5]]),
        "labels": torch.tensor([1, 2, 1]),
        "scores": torch.tensor([0.9, 0.5, 0.1]),
    }
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}
    empty = ShownImage(torch.rand(32, 32, 3), nothing, {**nothing, "scores": torch.zeros(0)})
    figure = draw_boxes([ShownImage(torch.rand(32, 32, 3), true, found), empty], ("ant", "a_$b$"))
    first, second = figure.axes
    drawn = [patch for patch in first.patches if isinstance(patch, Rectangle)]
    assert [
        (to_hex(one.get_edgecolor()).upper(), one.get_bbox().extents.tolist()) for one in drawn
    ] == [(TRUE, [2, 3, 12, 23]), (ACCENT, [1, 2, 3, 4]), (ACCENT, [9, 10, 20, 21])]
    assert [text.get_text() for text in first.texts] == ["a_$b$", "ant 0.90", "a_$b$ 0.50"]
    assert not second.patches
    figure.canvas.draw()
