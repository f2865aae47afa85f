"""mnasnet_searched takes our weights and timm's, and timm's parts train it."""

import copy
import random

import numpy as np
import pytest
import pytorch_lightning as pl
import safetensors.torch
import torch
from PIL import Image
from timm.data import create_dataset, create_loader, resolve_model_data_config
from timm.models import load_checkpoint
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, CheckpointSaver, ModelEmaV3, accuracy
from torch.nn import functional

from retrain.cli import run_callbacks
from retrain.module import RetrainModule
from supernet.arch_file import load_spec, write_arch
from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.network.checkpoint import load_network
from supernet.network.network import Network
from supernet.space.mnasnet import MnasSpace
from tests.helpers.archs import counted_arch
from tests.helpers.timm_networks import create, trained

SPACE = MnasSpace(
    base_filters=(8, 16, 24),
    base_layers=(1, 2, 1),
    strides=(2, 1, 2),
    stem=8,
    stem_stride=1,
    head=32,
    resolution=16,
    classes=10,
)


@pytest.fixture
def arch(tmp_path):
    torch.manual_seed(0)
    arch = SPACE.sample(random.Random(3))
    path = tmp_path / "arch.json"
    write_arch(path, counted_arch(SPACE, arch))
    return str(path)


def images(folder, side=72):
    """Two classes that differ in brightness."""
    rng = np.random.default_rng(0)
    for label, low in (("dark", 0), ("light", 128)):
        for part in ("train", "val"):
            (folder / part / label).mkdir(parents=True)
            for index in range(16):
                pixels = rng.integers(low, low + 128, size=(side, side + 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / label / f"{index}.png")


def loader(folder, model, training):
    part = "train" if training else "val"
    return create_loader(
        create_dataset("", root=str(folder), split=part),
        batch_size=8,
        is_training=training,
        use_prefetcher=False,
        num_workers=0,
        persistent_workers=False,
        **resolve_model_data_config(model),
    )


@torch.no_grad()
def top1(model, batches):
    """Accuracy in percent, as timm's validate does."""
    meter = AverageMeter()
    for x, labels in batches:
        meter.update(accuracy(model.eval()(x), labels, topk=(1,))[0].item(), len(labels))
    assert meter.count == 32
    return meter.avg


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # timm's ImageDataset
def test_timms_parts_train_save_and_validate_it(arch, tmp_path):
    images(tmp_path / "images", side=24)
    model = create(arch, num_classes=2, drop_rate=0.1, bn_momentum=0.3)
    optimizer = create_optimizer_v2(model, "adamw", lr=0.02, layer_decay=0.9)
    schedule, epochs = create_scheduler_v2(optimizer, "cosine", num_epochs=4)
    ema = ModelEmaV3(model, decay=0.5)
    saver = CheckpointSaver(
        model, optimizer, model_ema=ema, checkpoint_dir=str(tmp_path), max_history=2
    )
    batches = loader(tmp_path / "images", model, training=True)
    before = copy.deepcopy(model.state_dict())
    for epoch in range(epochs):
        for x, labels in batches:
            loss = functional.cross_entropy(model.train()(x), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ema.update(model)
        schedule.step(epoch + 1)
        best, _ = saver.save_checkpoint(epoch, top1(ema, loader(tmp_path / "images", model, False)))
    assert best == 100
    moved = {name for name, value in model.state_dict().items() if (value != before[name]).any()}
    assert moved == set(before)

    again = create(arch, num_classes=2, checkpoint_path=str(tmp_path / "last.pth.tar"))
    for name, value in ema.module.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    load_checkpoint(again, str(tmp_path / "last.pth.tar"), use_ema=False)
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


@pytest.mark.parametrize("kind", ["pth", "safetensors", "timm"])
def test_weights_come_from_plain_files_and_from_timms_checkpoints(arch, tmp_path, kind):
    network, file = trained(arch), tmp_path / f"weights.{'pth' if kind == 'timm' else kind}"
    state = network.state_dict()
    if kind == "safetensors":
        safetensors.torch.save_file(state, file)
    else:
        torch.save({"state_dict_ema": state} if kind == "timm" else state, file)
    assert_loads(network, arch, file)


def assert_loads(network, arch, file):
    """The file gives the network's logits, and the last level what its head sees."""
    x = torch.randn(4, 3, 16, 16)
    whole = create(arch, checkpoint_path=file).eval()
    torch.testing.assert_close(whole(x), network(x))
    levels = create(arch, features_only=True, checkpoint_path=str(file)).eval()(x)
    seen = network.blocks(network.act(network.bn1(network.conv_stem(x))))
    torch.testing.assert_close(levels[-1], seen)


def test_the_best_checkpoint_of_a_retraining_gives_its_averaged_weights(arch, tmp_path):
    module = RetrainModule(arch, num_classes=10, resolution=16, stem_stride=1)
    trainer = pl.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        logger=False,
        max_epochs=1,
        limit_train_batches=3,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=run_callbacks(tmp_path),
    )
    trainer.fit(module, datamodule=RunData(Digits(resolution=16, batch_size=32), "retrain", 0))
    best = tmp_path / "checkpoints" / "best.ckpt"
    held = torch.load(best)
    name = "network.conv_head.weight"
    assert not torch.equal(held["state_dict"][name], held["current_model_state"][name])
    assert_loads(load_network(best), arch, best)


def test_another_number_of_classes_or_channels_is_adapted_as_timm_does(arch, tmp_path):
    network, file = trained(arch), str(tmp_path / "best.ckpt")
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state}, file)
    settings = {"pretrained": True, "pretrained_cfg_overlay": {"file": file}}
    model = create(arch, num_classes=3, in_chans=1, **settings).eval()
    assert model(torch.randn(2, 1, 16, 16)).shape == (2, 3)
    stem = network.conv_stem.weight.sum(1, keepdim=True)
    torch.testing.assert_close(model.conv_stem.weight, stem)
    assert torch.equal(model.conv_head.weight, network.conv_head.weight)
    levels = create(arch, features_only=True, in_chans=1, **settings)
    torch.testing.assert_close(levels.conv_stem.weight, stem)
    same = create(arch, **settings).eval()
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(same(x), network(x))


def test_weights_of_another_network_are_refused_in_one_line(arch, tmp_path):
    torch.save(Network(load_spec(arch)).state_dict(), tmp_path / "ten.pth")
    for settings, tensor in (
        ({"arch": arch, "num_classes": 3}, "classifier.weight"),
        ({"arch": "mnasnet_small"}, "blocks.1.0"),
    ):
        with pytest.raises(UserError, match=r"of another network.*give the arch and") as refusal:
            create(**settings, checkpoint_path=str(tmp_path / "ten.pth"))
        assert tensor in str(refusal.value)
        assert "\n" not in str(refusal.value)
        assert len(str(refusal.value)) < 400
