"""mnasnet_searched is a timm model like any other, and the Network of its arch.json."""

import copy
import dataclasses
import math
import random
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config, resolve_model_data_config
from timm.models._features import FeatureGetterNet
from timm.optim import create_optimizer_v2
from torchvision.models.feature_extraction import create_feature_extractor

from supernet.arch_file import read_arch, write_arch
from supernet.data.image_folder import ImageFolder
from supernet.data_description import DataDescription, Preprocessing
from supernet.errors import UserError
from supernet.space.mnasnet import MnasSpace
from supernet.timm_models import data_config, register
from tests.helpers.archs import counted_arch
from tests.helpers.timm_networks import create, trained

BIG = MnasSpace(width=0.25, resolution=56, classes=10, head=48)
"""The paper's strides; images of 56 px."""
TINY = MnasSpace(
    base_filters=(8, 16, 24),
    base_layers=(1, 2, 1),
    strides=(2, 1, 2),
    stem=8,
    stem_stride=1,
    head=32,
    resolution=16,
    classes=10,
)
"""A stem of stride 1 and a first stage that strides."""


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def write(path, space, seed):
    arch = space.sample(random.Random(seed))
    write_arch(path, counted_arch(space, arch))
    return str(path)


@pytest.fixture
def arch(tmp_path):
    return write(tmp_path / "arch.json", TINY, 3)


@pytest.mark.parametrize(("space", "seed"), [(BIG, 0), (BIG, 1), (TINY, 2), (TINY, 3)])
def test_the_model_is_the_network_of_its_arch_json(tmp_path, space, seed):
    path = write(tmp_path / "arch.json", space, seed)
    network, model = trained(path), create(path).eval()
    assert list(model.state_dict()) == list(network.state_dict())
    model.load_state_dict(network.state_dict())
    images = torch.randn(4, 3, space.resolution, space.resolution)
    torch.testing.assert_close(model(images), network(images))
    torch.testing.assert_close(model.train()(images), network.train()(images))
    norm = model.blocks[0][0].bn1
    assert (norm.eps, norm.momentum, model.bn1.eps) == (1e-3, 0.01, 1e-3)


def test_a_published_name_of_any_width_is_timms_network():
    reference = timm.create_model("semnasnet_075").eval()
    model = create("mnasnet_a1_075").eval()
    model.load_state_dict(reference.state_dict())
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model(images), reference(images))
    assert model.feature_info == [
        {"stage": own["stage"], **{key: own[key] for key in ("module", "num_chs", "reduction")}}
        for own in reference.feature_info
    ]
    assert model.group_matcher() == reference.group_matcher()


def test_the_data_config_is_the_archs_own_and_evaluates_as_our_image_folder(tmp_path):
    path = write(tmp_path / "arch.json", BIG, 0)
    model = create(path)
    config = resolve_model_data_config(model)
    assert config["input_size"] == (3, 56, 56)
    assert resolve_data_config({}, model=model) == config
    assert model.default_cfg is model.pretrained_cfg
    assert model.pretrained_cfg["num_classes"] == model.num_classes == 10
    assert model.pretrained_cfg["pool_size"] == (2, 2)
    images(tmp_path / "images")
    data = ImageFolder(str(tmp_path / "images"), resolution=56, batch_size=999, num_workers=0)
    (file, _), *_ = data.val_dataloader().dataset.files
    ours = data.val_dataloader().dataset[0][0]
    theirs = create_transform(**config)(Image.open(file).convert("RGB"))
    torch.testing.assert_close(theirs, ours)


def images(folder, side=72):
    """Two classes that differ in brightness."""
    rng = np.random.default_rng(0)
    for label, low in (("dark", 0), ("light", 128)):
        for part in ("train", "val"):
            (folder / part / label).mkdir(parents=True)
            for index in range(16):
                pixels = rng.integers(low, low + 128, size=(side, side + 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / label / f"{index}.png")


@pytest.mark.parametrize(
    "change", [{}, {"stem_stride": 1}, {"strides": (2, 2, 1, 1, 3, 1, 2)}, {"strides": (1,) * 7}]
)
def test_every_level_has_the_channels_and_the_reduction_that_it_tells(tmp_path, change):
    path = write(tmp_path / "arch.json", dataclasses.replace(BIG, **change), 0)
    model = create(path, features_only=True).eval()
    info = model.feature_info
    levels = model(torch.randn(1, 3, 96, 96))
    assert [level.shape[1] for level in levels] == info.channels()
    assert [level.shape[2] for level in levels] == [96 // step for step in info.reduction()]
    assert len(set(info.reduction())) == len(levels)
    whole = create(path).eval()
    modules = dict(whole.named_modules())
    assert all(name in modules for name in info.module_name())
    whole.load_state_dict(model.state_dict(), strict=False)
    last, found = whole.forward_intermediates(torch.ones(1, 3, 96, 96))
    for one, other in zip(found, model(torch.ones(1, 3, 96, 96)), strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(last, whole.forward_features(torch.ones(1, 3, 96, 96)))


def test_levels_are_chosen_as_timm_chooses_them(tmp_path):
    path = write(tmp_path / "arch.json", BIG, 0)
    every = create(path, features_only=True).feature_info.reduction()
    assert every == [2, 4, 8, 16, 32]
    for chosen, reductions in (((1, 3), [4, 16]), ((-1,), [32]), (2, [16, 32])):
        model = create(path, features_only=True, out_indices=chosen)
        assert model.feature_info.reduction() == reductions
        assert len(model(torch.randn(2, 3, 64, 64))) == len(reductions)
    getter = FeatureGetterNet(create(path), out_indices=(0, 2)).eval()
    assert [level.shape[2] for level in getter(torch.randn(1, 3, 64, 64))] == [32, 8]
    assert "classifier" not in " ".join(getter.state_dict())
    pruned = create(path)
    pruned.prune_intermediate_layers([3], extra_blocks=True)
    assert len(pruned.blocks) == 3
    pruned.prune_intermediate_layers([1])
    assert len(pruned.blocks) == 2


def test_the_head_is_timms(arch):
    model = create(arch, num_classes=5, drop_rate=0.5)
    x = torch.randn(4, 3, 16, 16)
    assert (model.num_features, model.head_hidden_size, model.num_classes) == (32, 32, 5)
    assert model.get_classifier() is model.classifier
    features = model.eval().forward_features(x)
    assert features.shape == (4, 32, 4, 4)
    pooled = model.forward_head(features, pre_logits=True)
    torch.testing.assert_close(pooled, features.mean((2, 3)))
    torch.testing.assert_close(model.classifier(pooled), model(x))
    dropped = model.train().forward_head(features, pre_logits=True)
    assert 0.2 < (dropped[pooled > 0] == 0).float().mean() < 0.8
    model.reset_classifier(3, "max")
    assert model.eval()(x).shape == (4, 3)
    model.reset_classifier(0, "max")
    torch.testing.assert_close(model(x), features.amax((2, 3)))


def test_checkpointing_of_gradients_changes_memory_and_not_gradients(arch):
    plain = create(arch, drop_rate=0.0)
    saving = copy.deepcopy(plain)
    saving.set_grad_checkpointing()
    x = torch.randn(4, 3, 16, 16)
    for model in (plain, saving):
        model.train()(x).square().sum().backward()
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def layer_scales(model):
    groups = create_optimizer_v2(model, "adamw", lr=1.0, layer_decay=0.5).param_groups
    scales = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    assert len(scales) == sum(len(group["params"]) for group in groups)
    return {name: scales[id(parameter)] for name, parameter in model.named_parameters()}


def test_layer_decay_falls_from_the_head_to_the_stem(arch):
    model = create(arch)
    scales = layer_scales(model)
    blocks = [
        f"blocks.{number}.{index}.bn1.weight"
        for number, stage in enumerate(model.blocks)
        for index in range(len(stage))
    ]
    falling = [scales[name] for name in ("conv_stem.weight", *blocks)]
    assert falling == [0.5 ** (len(blocks) + 1 - depth) for depth in range(len(blocks) + 1)]
    assert scales["classifier.weight"] == 1
    theirs = layer_scales(timm.create_model("mnasnet_small"))
    assert layer_scales(create("mnasnet_small")) == theirs


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"arch": None}, "needs arch=.*: an arch.json, a checkpoint or a published name"),
        ({"arch": "mnasnet_z9"}, "unknown network 'mnasnet_z9'"),
        ({"arch": "missing/arch.json"}, "missing/arch.json: cannot be read"),
        ({"num_classes": -1}, "num_classes is -1, it must be a whole number of at least 0"),
        ({"num_classes": "ten"}, "num_classes is 'ten', it must be a whole number"),
        ({"in_chans": 0}, "in_chans is 0, it must be a whole number of at least 1"),
        ({"bn_eps": 0.0}, "bn_eps is 0.0"),
        ({"output_stride": 16}, "output_stride is 16, but these blocks do not dilate"),
        ({"drop_path_rate": 0.2}, "drop_path_rate is 0.2, but .* no stochastic depth"),
        ({"features_only": True, "out_indices": (0, 3)}, "has 3 levels: give indices from -3 to 2"),
        ({"features_only": True, "out_indices": 4}, "out_indices is 4, .* 3 levels: give 1 to 3"),
        ({"features_only": True, "out_indices": ()}, r"out_indices is \(\), this network"),
    ],
)
def test_what_cannot_be_built_is_one_line(arch, settings, message):
    with pytest.raises(UserError, match=message) as refusal:
        create(**{"arch": arch, **settings})
    assert "\n" not in str(refusal.value)


def test_a_broken_arch_json_is_one_line(tmp_path):
    (tmp_path / "arch.json").write_text('{"format": "other"}')
    with pytest.raises(UserError, match=r"arch.json: format is 'other'"):
        create(tmp_path / "arch.json")


def test_zeros_in_timms_options_are_taken_as_timm_takes_them(arch):
    model = create(
        arch, drop_path_rate=0.0, num_classes=0, pretrained_cfg={"input_size": (3, 9, 9)}
    )
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 32)
    assert resolve_model_data_config(model)["input_size"] == (3, 16, 16)
    half = create(arch, dtype=torch.bfloat16, device="cpu")
    assert {value.dtype for value in half.parameters()} == {torch.bfloat16}


def test_timm_resizes_as_the_training_did_at_every_resolution():
    for side in range(8, 513):
        steps = Preprocessing(round(side / 0.875), side, "bicubic", (0.5,) * 3, (0.5,) * 3)
        config = data_config(DataDescription(("a", "b"), preprocessing=steps))
        assert math.floor(side / config["crop_pct"]) == steps.resize
    assert math.isclose(config["crop_pct"], 0.875, rel_tol=1e-2)


STEPS = Preprocessing(23, 16, "bilinear", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
TOLD = DataDescription(tuple("abcdefghij"), digest="ab12", preprocessing=STEPS)


def assert_told(model):
    config = model.pretrained_cfg
    assert config["label_names"] == TOLD.classes
    assert (config["mean"], config["std"]) == (STEPS.mean, STEPS.std)
    assert config["interpolation"] == "bilinear"
    assert math.floor(16 / config["crop_pct"]) == 23
    assert "data ab12" in config["description"]


def test_timms_configuration_says_what_arch_json_says_of_the_data(tmp_path, arch):
    found = dataclasses.replace(read_arch(arch), data=TOLD, accuracy=0.5)
    write_arch(tmp_path / "told.json", found)
    model = create(tmp_path / "told.json")
    assert_told(model)
    assert model.pretrained_cfg["description"].startswith("unshared accuracy 0.5000")
    write_arch(tmp_path / "shared.json", dataclasses.replace(found, step=9))
    model = create(tmp_path / "shared.json")
    assert model.pretrained_cfg["description"].startswith("supernet accuracy 0.5000")


def test_a_checkpoint_is_a_timm_model_with_its_weights(tmp_path, arch):
    network = trained(arch)
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    checkpoint = {
        "spec": network.spec.to_json(),
        "state_dict": weights,
        "data": dataclasses.asdict(TOLD),
        "validation": {"accuracy": 0.75},
        "versions": {"torch": "2.15.0"},
    }
    path = tmp_path / "best.ckpt"
    torch.save(checkpoint, path)
    model = create(path, pretrained=True).eval()
    assert_told(model)
    assert "validation accuracy 0.7500" in model.pretrained_cfg["description"]
    assert "torch 2.15.0" in model.pretrained_cfg["description"]
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(model(images), network(images))
    other = create(path, pretrained=True, num_classes=3)
    assert torch.equal(other.conv_stem.weight, network.conv_stem.weight)
    torch.save({**checkpoint, "ssdlite": {}}, path)
    with pytest.raises(UserError, match="holds a detector"):
        create(path)


def test_a_registered_name_builds_the_network_wherever_timm_is_asked(arch):
    register(arch, "registered_net")
    assert timm.list_models("registered_*") == ["registered_net"]
    model = timm.create_model("registered_net", drop_rate=0.5).eval()
    model.load_state_dict(trained(arch).state_dict())
    images = torch.randn(2, 3, 16, 16)
    levels = timm.create_model("registered_net", features_only=True, out_indices=(0, 1)).eval()
    levels.load_state_dict(model.state_dict())
    places = levels.feature_info.module_name()
    extracted = create_feature_extractor(model, {place: place for place in places})(images)
    for level, place in zip(levels(images), places, strict=True):
        assert torch.equal(extracted[place], level)


def test_a_name_given_before_is_given_anew_and_timms_own_are_not_taken(arch, tmp_path):
    register(arch, "again")
    other = write(tmp_path / "other.json", BIG, 0)
    with pytest.warns(UserWarning, match="Overwriting again"):
        register(other, "again")
    assert timm.create_model("again").conv_head.out_channels == BIG.head
    for name in ("mnasnet_100", "mnasnet_searched"):
        with pytest.raises(UserError, match=f"timm has a model {name!r} already"):
            register(arch, name)
    with pytest.raises(UserError, match=r"the name is 'a\.b', it must be letters"):
        register(arch, "a.b")
    with pytest.raises(UserError, match=r"missing\.json: cannot be read"):
        register("missing.json", "missing")


def page_code(tmp_path, number):
    """A block of the page's section on networks of one's own, for a network of this test."""
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
    section = page.partition("## As a part of your own network\n")[2].partition("\n## ")[0]
    block = section.split("```python\n")[number].partition("```")[0]
    return block.replace("runs/SEARCH/arch.json", write(tmp_path / "arch.json", BIG, 0))


@pytest.mark.filterwarnings("ignore:.torch.jit", "ignore:Overwriting")
@torch.no_grad()
def test_the_code_of_the_page_takes_features_traces_and_exports(tmp_path):
    names = {}
    exec(page_code(tmp_path, 1), names)
    images = torch.randn(1, 3, 224, 224)
    expected = names["network"](images)
    for other in ("traced", "scripted"):
        assert torch.equal(names[other](images), expected)
    torch.testing.assert_close(names["program"].module()(images), expected)
    assert [one.shape[-1] for one in names["levels"](images)] == [56, 28, 14]
    assert [one.shape[-1] for one in names["maps"](images).values()] == [28, 7]


# torch deprecates TorchScript, which many still ship; it is to compile as long as it exists.
@pytest.mark.filterwarnings("ignore:.torch.jit")
@pytest.mark.parametrize("features_only", [False, True])
def test_scripted_and_traced_models_compute_the_same_bits(arch, features_only):
    model = create(arch, features_only=features_only).eval()
    images = torch.randn(2, 3, 16, 16)
    expected = model(images)
    for other in (torch.jit.script(model), torch.fx.symbolic_trace(model)):
        for one, two in zip(other(images), expected, strict=True):
            assert torch.equal(one, two)


@pytest.mark.filterwarnings("ignore:.torch.jit", "ignore:Overwriting")
@torch.no_grad()
def test_a_segmentation_network_takes_the_registered_name_as_its_encoder(tmp_path):
    smp = pytest.importorskip("segmentation_models_pytorch", reason="pip install that package")
    names = {}
    exec(page_code(tmp_path, 1) + page_code(tmp_path, 2), names)
    images = torch.randn(1, 3, 64, 64)
    assert names["unet"].eval()(images).shape == (1, 3, 64, 64)
    deepest = names["unet"].encoder.eval()(images)[-1]
    (own,) = create_feature_extractor(names["network"], ["blocks.6"])(images).values()
    assert torch.equal(deepest, own)
    register(write(tmp_path / "arch.json", BIG, 0), "encoder_net")
    model = smp.FPN("tu-encoder_net", encoder_weights=None, classes=3).eval()
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 3, 64, 64)
    with pytest.raises(UserError, match="output_stride is 16"):
        smp.DeepLabV3Plus("tu-encoder_net", encoder_weights=None)
