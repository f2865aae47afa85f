"""The picture of a network: all that it says, and nothing over anything else."""

import random
import re
import sys
from dataclasses import replace
from itertools import combinations

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from supernet.display.figures import draw_network, save_figure, short_count
from supernet.errors import UserError
from supernet.space.arch import Arch
from supernet.space.mnasnet import MnasSpace
from supernet.space.published import published
from supernet.space.spec import NetSpec

SPACE = MnasSpace(width=0.35, resolution=16, classes=10, stem_stride=1, head=256)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("name", published)
def test_a_network_is_drawn_with_its_parts_shapes_and_costs(name):
    shown = texts(draw_network(published[name], name))
    assert name in shown
    assert "7 \N{MULTIPLICATION SIGN} 7 \N{MULTIPLICATION SIGN} 1280" in shown
    assert "1000 classes" in shown
    assert sum(text.startswith("MBConv") for text in shown) >= 6


def test_the_legend_names_only_what_the_network_uses():
    shown = texts(draw_network(published["mnasnet_a1"], "A1"))
    assert "identity shortcut" in shown
    assert "pool shortcut" not in shown
    block = replace(SPACE.sample(random.Random(0)).blocks[0], op="conv", skip="pool", layers=0)
    shown = texts(draw_network(SPACE.spec(Arch((block,) * 7)), "all alike"))
    assert "pool shortcut" in shown
    assert "identity shortcut" not in shown
    assert not any(text.startswith(("MBConv", "SepConv")) for text in shown)


def test_every_text_of_a_network_lies_within_the_page():
    deep = replace(SPACE, base_layers=(20,) * 7)
    figure = draw_network(deep.spec(deep.sample(random.Random(0))), "deep")
    figure.draw_without_rendering()
    page = figure.bbox
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert box.y1 <= page.y1


ODD = NetSpec.from_block_strings(
    [
        f"r{repeats}_k7_s22_e{expand}_i{inputs}_o{outputs}_se{se}_{skip}"
        for repeats, expand, inputs, outputs, se, skip in (
            (100, 1, 32, 2048, 0.0625, "conv"),
            (9, 4, 2048, 16, 1 / 6, "pool"),
            (1, 2, 16, 16, 0.333, "noskip"),
            (3, 3, 16, 16, 0.25, "pool"),
            (1, 5, 16, 16, 0.25, "pool"),
            (5, 6, 16, 16, 0.25, "pool"),
            (1, 12, 16, 16, 0.25, "pool"),
            (2, 9, 16, 16, 0.25, "pool"),
            (2, 1, 16, 16, 0.25, "pool"),
        )
    ],
    resolution=4096,
    classes=100_000,
)


@pytest.mark.parametrize("spec", [*published.values(), ODD], ids=[*published, "odd"])
def test_no_two_texts_of_a_network_touch(spec):
    figure = draw_network(spec, "a title " * 20)
    figure.draw_without_rendering()
    inch, page = figure.dpi, figure.bbox
    shown = [text for text in figure.axes[0].texts if text.get_text()]
    boxes = [text.get_window_extent() for text in shown]
    for box in boxes:
        assert page.x0 + 0.2 * inch <= box.x0
        assert box.x1 <= page.x1 - 0.2 * inch
    for (one, first), (other, second) in combinations(zip(shown, boxes, strict=True), 2):
        assert not first.overlaps(second), (one.get_text(), other.get_text())


def test_a_long_title_loses_its_beginning_and_is_never_a_formula():
    name = "/home/" + "long/" * 40 + "$x_{$/arch.json"
    shown = texts(draw_network(published["mnasnet_small"], name))
    title = next(text for text in shown if text.startswith("\N{HORIZONTAL ELLIPSIS}"))
    assert name.endswith(title[1:])
    assert len(title) > 20


def test_a_picture_says_op_expansion_kernel_se_shape_and_repeats_of_each_stage():
    shown = texts(draw_network(published["mnasnet_a1"], "A1"))
    times = "\N{MULTIPLICATION SIGN}"
    labels = [text for text in shown if text.startswith(("MBConv", "SepConv"))]
    boxes = ["SepConv", *("MBConv6", "MBConv3", "MBConv6", "MBConv6", "MBConv6", "MBConv6")]
    assert labels == [*boxes, "MBConv3", "MBConv6", "SepConv"]
    kernels = [text for text in shown if text in (f"{k}{times}{k}" for k in (1, 3, 5))]
    assert kernels == [f"{k}{times}{k}" for k in (3, 3, 3, 5, 3, 3, 5, 3, 1)]
    assert shown.count("SE 0.25") == 3
    repeats = [text for text in shown if re.fullmatch(f"{times}[0-9]+", text)]
    assert repeats == [f"{times}{n}" for n in (2, 3, 4, 2, 3)]
    shapes = [text for text in shown if f" {times} " in text]
    assert shapes[0] == f"image 224 {times} 224 {times} 3"
    assert shapes[4] == f"28 {times} 28 {times} 40"


def test_unlike_expansions_have_unlike_colours():
    specs = [
        NetSpec.from_block_strings([f"r1_k3_s11_e{expand}_i16_o16"]) for expand in (2, 3, 4, 6, 9)
    ]
    boxes = [draw_network(spec, "one").findobj(FancyBboxPatch) for spec in specs]
    lightness = [sum(stage.get_facecolor()[:3]) for _, stage, *_ in boxes]
    assert lightness == sorted(set(lightness), reverse=True)
    assert len(lightness) == 5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (928, "928"),
        (13_968, "14.0 k"),
        (311_579_072, "312 M"),
        (1_280_000, "1.28 M"),
        (2_500_000_000, "2.50 G"),
        (999, "999"),
        (999.7, "1.00 k"),
        (999_600, "1.00 M"),
        (999_499, "999 k"),
        (3.13e13, "31.3 T"),
    ],
)
def test_counts_are_shortened_to_three_digits(value, text):
    assert short_count(value) == text


def test_a_figure_is_saved_as_png_only(tmp_path):
    figure = draw_network(published["mnasnet_small"], "small")
    with pytest.raises(UserError, match=r"network\.pdf: the name must end in \.png"):
        save_figure(figure, tmp_path / "network.pdf")
    assert list(tmp_path.iterdir()) == []


def test_drawing_leaves_no_figure_open():
    draw_network(published["mnasnet_small"], "small")
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )
