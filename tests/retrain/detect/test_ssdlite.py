"""Detectors: the features that a network gives, what SSDLite adds, and what both cost."""

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from torchvision.models.detection.image_list import ImageList

from benchmarks.detection_cost import (
    BOXES,
    PAPER,
    PAPERS,
    REDUCED,
    STAGES,
    Variant,
    count_detector,
    print_network,
)
from retrain.detect.ssdlite import (
    STRIDES,
    ExtraMaps,
    PaperFeatures,
    SSDLite,
    StrideFeatures,
    make_detector,
)
from retrain.warm_start import load_by_name
from supernet.cost.counts import Cost, count
from supernet.errors import UserError
from supernet.network.network import Network
from supernet.space.mnasnet import MnasSpace
from supernet.space.published import published_spec
from supernet.space.spec import NetSpec

PUBLISHED = ("mnasnet_a1", "mnasnet_b1", "mnasnet_small", "mobilenet_v2")
SPACE = MnasSpace(width=0.1, head=32, resolution=64, classes=3)
"""The whole space, thin: conv stages, pool skips and all."""


def searched(seed: int, **changes) -> NetSpec:
    return replace(SPACE.spec(SPACE.sample(random.Random(seed))), **changes)


def pictures(number, side=64):
    """In the memory format that a detector uses, so that results can be equal to the last bit."""
    images = torch.randn(number, 3, side, side)
    return images.contiguous(memory_format=torch.channels_last)


def specs():
    yield from (published_spec(name).scaled(width=0.35, resolution=64) for name in PUBLISHED)
    yield from map(searched, range(12))


def test_every_network_gives_the_last_features_of_each_stride():
    seen = set()
    for spec in specs():
        torch.manual_seed(0)
        network = Network(spec).eval()
        images = pictures(2)
        maps = StrideFeatures(network)(images)
        assert list(maps) == ["4", "8", "16", "32"]
        x, expected = network.act(network.bn1(network.conv_stem(images))), {}
        for stage in network.blocks:
            x = stage(x)
            expected[64 // x.shape[-1]] = x
        for stride in STRIDES:
            assert torch.equal(maps[str(stride)], expected[stride])
        seen |= {(stage.op, stage.skip) for stage in spec.stages}
    assert {op for op, _ in seen} == {"conv", "sepconv", "mbconv"}
    assert {skip for _, skip in seen} == {"none", "identity", "pool"}


def test_the_channels_that_features_announce_are_those_that_they_have():
    for spec in specs():
        for features in (StrideFeatures(Network(spec)), PaperFeatures(Network(spec))):
            maps = features(torch.randn(2, 3, 64, 64))
            assert [m.shape[1] for m in maps.values()] == features.out_channels
            assert [64 // m.shape[-1] for m in maps.values()] == list(map(int, maps))


def test_sides_that_a_stride_does_not_divide_are_rounded_up():
    maps = StrideFeatures(Network(searched(0)))(torch.randn(2, 3, 75, 75))
    assert [m.shape[-1] for m in maps.values()] == [math.ceil(75 / s) for s in STRIDES]


def test_a_stem_of_stride_1_halves_every_stride():
    spec = searched(0, stem_stride=1)
    assert spec.strides == [1, 1, 2, 4, 8, 8, 16, 16]
    maps = StrideFeatures(Network(spec), (4, 8, 16))(torch.randn(2, 3, 64, 64))
    assert [m.shape[-1] for m in maps.values()] == [16, 8, 4]


def test_a_stride_that_no_layer_has_is_named_with_those_that_there_are():
    network = Network(searched(0, stem_stride=1))
    line = "no features of stride 32: with stem stride 1 the network has those of 1, 2, 4, 8, 16"
    with pytest.raises(UserError, match=f"{line}; .* --model.ssdlite.taps .8,16."):
        StrideFeatures(network)


def test_layers_beyond_the_last_tap_are_left_out():
    network = Network(searched(0))
    few, all_stages = StrideFeatures(network, (4, 8)), StrideFeatures(network)
    assert (len(few.blocks), len(all_stages.blocks)) == (3, 7)
    names = set(all_stages.state_dict())
    assert names < set(network.state_dict())
    assert {name.split(".")[0] for name in set(network.state_dict()) - names} == {
        "conv_head",
        "bn2",
        "classifier",
    }


@pytest.mark.parametrize(("name", "expanded"), [("mobilenet_v2", 576), ("mnasnet_a1", 672)])
def test_the_papers_taps_are_the_expansion_at_stride_16_and_the_head(name, expanded):
    with torch.device("meta"):
        features = PaperFeatures(Network(published_spec(name)))
        maps = features(torch.empty(1, 3, 320, 320))
    shapes = {stride: tuple(m.shape[1:]) for stride, m in maps.items()}
    assert shapes == {"16": (expanded, 20, 20), "32": (1280, 10, 10)}


@pytest.mark.parametrize("op", ["mbconv", "sepconv", "conv"])
def test_the_papers_first_tap_is_what_the_striding_layer_convolves(op):
    spec = searched(1)
    stages = [*spec.stages]
    stages[5] = replace(stages[5], op=op, expand=3 if op == "mbconv" else 1)
    network = Network(replace(spec, stages=tuple(stages))).eval()
    images = pictures(2)
    finest, head = PaperFeatures(network)(images).values()
    x = network.blocks[:5](network.act(network.bn1(network.conv_stem(images))))
    first = network.blocks[5][0]
    assert torch.equal(finest, first.act(first.bn1(first.conv_pw(x))) if op == "mbconv" else x)
    assert torch.equal(head, network.forward_features(images))


def test_tapping_an_expansion_computes_it_once():
    network = Network(searched(2))
    PaperFeatures(network)(torch.randn(2, 3, 64, 64))
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {int(norm.num_batches_tracked) for norm in norms} == {1}


def test_the_papers_taps_need_a_stage_that_strides():
    spec = searched(0)
    flat = replace(spec, stages=tuple(replace(stage, stride=1) for stage in spec.stages))
    with pytest.raises(UserError, match="no stage of the network strides"):
        PaperFeatures(Network(flat))


def test_extra_maps_halve_the_map_before_them():
    backbone = ExtraMaps(StrideFeatures(Network(searched(0)), (8, 16)), (24, 16), nn.BatchNorm2d)
    maps = backbone(torch.randn(2, 3, 160, 160))
    assert [m.shape[-1] for m in maps.values()] == [20, 10, 5, 3]
    assert [m.shape[1] for m in maps.values()] == backbone.out_channels
    assert backbone.out_channels[2:] == [24, 16]


def detector(settings, spec=None):
    return make_detector(Network(spec or searched(0)), settings)


@pytest.mark.parametrize("settings", [SSDLite((4, 16, 32), (16, 16)), SSDLite("paper", (16,))])
def test_every_weight_of_a_detector_learns(settings):
    torch.manual_seed(0)
    model, images = detector(settings), list(torch.randn(3, 3, 64, 64))
    boxes = torch.tensor([[4.0, 4.0, 24.0, 24.0], [8.0, 8.0, 60.0, 62.0]])
    losses = model(images, [{"boxes": boxes, "labels": torch.tensor([1, 3])}] * 3)
    assert set(losses) == {"classification", "bbox_regression"}
    sum(losses.values()).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        # A 1x1 map of equal boxes may match nothing: only there has the regression no target.
        assert weight.grad.abs().sum() > 0 or "regression_head" in name, name


def test_images_are_neither_normalised_nor_resized_again():
    model, images = detector(SSDLite((8, 16, 32))), list(torch.randn(2, 3, 64, 64))
    targets = [{"boxes": torch.tensor([[1.0, 2.0, 30.0, 40.0]]), "labels": torch.tensor([1])}] * 2
    passed, boxes = model.transform(images, targets)
    assert torch.equal(passed.tensors, torch.stack(images))
    assert torch.equal(boxes[0]["boxes"], targets[0]["boxes"])


def test_default_boxes_span_the_scales_over_the_maps():
    model = detector(SSDLite((8, 16, 32), (16,), scales=(0.125, 0.5))).eval()
    images = torch.zeros(1, 3, 64, 64)
    (boxes,) = model.anchor_generator(
        ImageList(images, [(64, 64)]), list(model.backbone(images).values())
    )
    maps = (64, 16, 4, 1)
    assert len(boxes) == 6 * sum(maps)
    starts = [6 * sum(maps[:n]) for n in range(4)]
    sides = (boxes[:, 2:] - boxes[:, :2])[starts]
    assert torch.allclose(sides, torch.tensor([8.0, 16.0, 24.0, 32.0])[:, None].expand(-1, 2))


@pytest.mark.parametrize("taps", [(8, 16, 32), "paper"])
def test_boxes_stay_exact_where_the_network_computes_in_bfloat16(taps):
    model, images = detector(SSDLite(taps, (16,))).eval(), torch.randn(2, 3, 64, 64)
    listed = ImageList(images, [(64, 64)] * 2)
    with torch.autocast("cpu", torch.bfloat16):
        maps = list(model.backbone(images).values())
        assert model.backbone.features.conv_stem(images).dtype == torch.bfloat16
        (boxes, _) = model.anchor_generator(listed, maps)
    assert {m.dtype for m in maps} == {boxes.dtype} == {torch.float32}
    exact = model.anchor_generator(listed, list(model.backbone(images).values()))
    assert torch.equal(boxes, exact[0])


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"taps": (16, 8)}, r"ssdlite.taps is \[16, 8\], it must be ascending strides"),
        ({"taps": (0, 8)}, r"ssdlite.taps is \[0, 8\]"),
        ({"taps": ()}, "at least one tap"),
        ({"extras": (16, 0)}, "channels of at least 1"),
        ({"scales": (0.5, 0.2)}, r"ssdlite.scales is \[0.5, 0.2\]"),
        ({"scales": (0.5, 1.2)}, "at most 1"),
    ],
)
def test_settings_that_describe_no_detector_are_named(settings, line):
    with pytest.raises(UserError, match=line):
        SSDLite(**settings)


@pytest.mark.parametrize("settings", [SSDLite((4, 32)), SSDLite("paper")])
@pytest.mark.parametrize("name", ["mnasnet_small", "semnasnet_050"])
def test_timms_weights_fit_by_name(name, settings):
    ours = {"mnasnet_small": "mnasnet_small", "semnasnet_050": "mnasnet_a1_050"}[name]
    spec = published_spec(ours)
    weights = timm.create_model(name).state_dict()
    trunk = detector(replace(settings, extras=()), spec).backbone.features
    load_by_name(weights, trunk)
    for place, value in trunk.state_dict().items():
        assert torch.equal(value, weights[place])


def test_mobilenet_v2_with_ssdlite_has_the_size_that_others_publish():
    # Open Model Zoo's ssdlite_mobilenet_v2, TensorFlow's detector of 90 labels with its batch norms
    # folded: 4.475M parameters. MobileNetV2, table 5: 2.1M of SSDLite alone, for 80 classes.
    parts = count_detector(published_spec("mobilenet_v2"), Variant("", classes=90))
    assert parts.total.params - parts.norms == 4_475_167
    parts = count_detector(published_spec("mobilenet_v2"), Variant("", classes=80))
    assert round((parts.extras + parts.heads).params / 1e6, 1) == 2.1


@pytest.mark.parametrize(
    ("name", "variant", "cost"),
    [
        ("mobilenet_v2", Variant("", classes=80), (4.3, 0.79)),
        ("mnasnet_a1", Variant("", classes=90), (4.9, 0.84)),
    ],
)
def test_counted_as_the_papers_do_both_detectors_have_the_papers_size(name, variant, cost):
    total = count_detector(published_spec(name).scaled(resolution=320), variant).total
    assert (round(total.params / 1e6, 1), round(total.macs / 1e9, 2)) == cost


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_network_within_a_detector_costs_what_its_closed_form_says(name):
    spec = published_spec(name).scaled(resolution=320)
    classifier = Cost((spec.head + 1) * spec.classes, spec.head * spec.classes)
    last = spec.stages[-1].filters
    head = Cost(last * spec.head + 2 * spec.head, last * spec.head * 10**2)
    whole = count(spec)
    paper, stages = (count_detector(spec, Variant("", s)).features for s in (PAPER, STAGES))
    assert paper + classifier == whole
    assert stages + head + classifier == whole


@pytest.mark.parametrize("name", PAPERS)
def test_the_docs_hold_the_table_that_the_command_prints(name, capsys):
    print_network(name)
    docs = (Path(__file__).parents[3] / "docs" / "detection.md").read_text()
    assert capsys.readouterr().out.strip() in docs


def test_heads_cost_what_their_closed_form_says():
    spec = published_spec("mobilenet_v2").scaled(resolution=320)
    parts = count_detector(spec, Variant("", classes=80))
    widths, sides = (576, 1280, 512, 256, 256, 128), (20, 10, 5, 3, 2, 1)
    params = macs = 0
    for width, side, boxes in zip(widths, sides, (REDUCED, *[BOXES] * 5), strict=True):
        for outputs in (81 * boxes, 4 * boxes):
            params += (9 + 2) * width + (width + 1) * outputs
            macs += (9 * width + width * outputs) * side**2
    assert parts.heads == Cost(params, macs)
