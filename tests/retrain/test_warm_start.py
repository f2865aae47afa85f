"""--model.init supernet:FILE: a retraining starts from shared weights, and only when it starts."""

import dataclasses
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from torch import nn
from torch.nn import functional

from retrain.__main__ import main
from retrain.module import RetrainModule
from supernet.arch_file import write_arch
from supernet.command.process import run_command
from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.network.supernet import SuperNet
from supernet.run.callbacks import SeedEachStep
from supernet.run.checkpoints import LastCheckpoint
from supernet.space.mnasnet import MnasSpace
from supernet.training.recipe import Recipe
from tests.helpers.archs import counted_arch

SPACE = MnasSpace(width=0.1, layers=(-1, 0), stem_stride=1, resolution=8, classes=10, head=16)
ARCH = SPACE.sample(random.Random(0))
PLAIN = Recipe(
    optimizer="adamw",
    lr=0.04,
    eps=0,
    schedule="cosine",
    warmup=0.0,
    ema_decay=0.9,
    bn_momentum=0.1,
    dropout=0.0,
    label_smoothing=0.0,
)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def write(folder, space=SPACE, name="arch.json"):
    write_arch(folder / name, counted_arch(space, ARCH))
    return str(folder / name)


@pytest.fixture
def search(tmp_path):
    """A search's supernet, the file that holds it, and an arch.json of its space."""
    supernet = SuperNet(SPACE)
    for parameter in supernet.parameters():  # away from the aligned start, where ops nearly agree
        parameter.data += 0.05 * torch.randn_like(parameter)
    state = {f"supernet.{name}": value for name, value in supernet.state_dict().items()}
    path = tmp_path / "search.ckpt"
    torch.save(
        {"search": {"space": dataclasses.asdict(SPACE), "seed": 0}, "state_dict": state}, path
    )
    return supernet, f"supernet:{path}", write(tmp_path)


def file_of(init):
    return Path(init.removeprefix("supernet:"))


def module_for(arch, init, classes=10):
    return RetrainModule(arch, classes, resolution=8, stem_stride=1, recipe=PLAIN, init=init)


def digits():
    return RunData(Digits(resolution=8, batch_size=16), role="retrain", seed=0)


def trainer_for(folder, *callbacks, steps=1):
    return pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        max_epochs=1,
        limit_train_batches=steps,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        enable_checkpointing=any(isinstance(one, Checkpoint) for one in callbacks),
        callbacks=[*callbacks, SeedEachStep(0)],
    )


class Watch(pl.Callback):
    """Keeps the weights at the start, and the first batch with its loss."""

    def on_train_start(self, trainer, pl_module):
        self.first = {name: value.clone() for name, value in pl_module.network.state_dict().items()}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 0:
            self.batch, self.loss = batch, outputs["loss"].item()


def test_the_first_step_runs_the_supernets_weights(search, tmp_path, capsys):
    supernet, init, arch = search
    watch = Watch()
    module = module_for(arch, init)
    trainer_for(tmp_path, watch).fit(module, digits())
    images, labels = watch.batch
    logits = supernet(images, ARCH)
    assert watch.loss == pytest.approx(functional.cross_entropy(logits, labels).item(), rel=1e-5)
    module.network.load_state_dict(watch.first)
    ours = module.train()(images)
    assert (ours - logits).abs().max() <= 1e-5 * logits.abs().max()
    out = capsys.readouterr().out
    assert f"training {arch} from the shared weights of {file_of(init)}: " in out
    assert "classifier" not in out


def test_the_first_batches_make_the_statistics_until_the_recipes_momentum(search, tmp_path):
    _, init, arch = search
    module, means = module_for(arch, init), []
    module.recipe = dataclasses.replace(PLAIN, ema_decay=0.0)
    module.network.conv_stem.register_forward_hook(
        lambda _, inputs, output: means.append(output.detach().mean((0, 2, 3)))
    )
    trainer_for(tmp_path, steps=12).fit(module, digits())
    expected = torch.zeros(8)
    for number, mean in enumerate(means, 1):
        expected = torch.lerp(expected, mean, max(0.1, 1 / number))
    assert len(means) == 12
    torch.testing.assert_close(module.network.bn1.running_mean, expected)
    # The tenth batch is the last of equal weight, so that the first statistics have none.
    assert module.network.bn1.momentum == PLAIN.bn_momentum


def test_the_first_batches_make_the_statistics_of_all_processes_too(search):
    _, init, arch = search
    module, trainer = module_for(arch, init), SimpleNamespace(global_step=2)
    module.network = nn.SyncBatchNorm.convert_sync_batchnorm(module.network)
    module.trainer, module.steps_done = trainer, 2
    module._schedule = SimpleNamespace(step_update=lambda _: None)
    module.on_train_batch_start(None, 2)
    assert module.network.bn1.momentum == pytest.approx(1 / 3)


def test_the_average_starts_from_these_weights(search, tmp_path):
    supernet, init, arch = search
    file, held = tmp_path / "held.ckpt", []

    class Hold(pl.Callback):
        def on_train_batch_start(self, trainer, *_):
            trainer.save_checkpoint(file, weights_only=False)
            held.append(torch.load(file))

    trainer_for(tmp_path, Hold(), steps=3).fit(module_for(arch, init), digits())
    for name, first in supernet.extract(ARCH).state_dict().items():
        averages = [one["state_dict"][f"network.{name}"] for one in held]
        lasts = [one["current_model_state"][f"network.{name}"] for one in held]
        assert torch.equal(averages[0], first)
        assert torch.equal(lasts[0], first)
        # The average begins after the first step, and warms up: its decay is then 2 / 11.
        assert torch.equal(averages[1], lasts[1])
        third = torch.lerp(*lasts[1:], 9 / 11) if first.is_floating_point() else lasts[2]
        torch.testing.assert_close(averages[2], third)
    stem = "network.conv_stem.weight"
    assert not torch.equal(held[0]["state_dict"][stem], held[1]["state_dict"][stem])


def test_a_run_that_goes_on_needs_no_supernet_and_repeats_the_same_bits(search, tmp_path):
    _, init, arch = search

    class Kill(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == 2:
                raise RuntimeError("killed")

    whole, first, second = (module_for(arch, init) for _ in range(3))
    trainer_for(tmp_path / "whole", steps=4).fit(whole, digits())
    folder = tmp_path / "killed"
    with pytest.raises(RuntimeError, match="killed"):
        trainer_for(folder, LastCheckpoint(folder, 0.0), Kill(), steps=4).fit(first, digits())
    file_of(init).unlink()
    last = folder / "checkpoints" / "last.ckpt"
    trainer_for(folder, steps=4).fit(second, digits(), ckpt_path=last)
    for name, value in second.network.state_dict().items():
        assert torch.equal(value, whole.network.state_dict()[name]), name
    trainer_for(folder).test(module_for(arch, init), digits(), ckpt_path=last, verbose=False)


@pytest.mark.parametrize("shared", [True, False])
def test_a_run_continues_only_with_the_init_that_it_started_from(search, tmp_path, shared):
    _, init, arch = search
    own, other = (init, "scratch") if shared else ("scratch", init)
    trainer_for(tmp_path, LastCheckpoint(tmp_path)).fit(module_for(arch, own), digits())
    last = tmp_path / "checkpoints" / "last.ckpt"
    with pytest.raises(UserError, match=f"init is {other}, but .* started from {own}: continue"):
        trainer_for(tmp_path).fit(module_for(arch, other), digits(), ckpt_path=last)
    # An evaluation starts from nothing: any init will do.
    trainer_for(tmp_path).test(module_for(arch, other), digits(), ckpt_path=last, verbose=False)


def test_a_run_from_before_init_existed_was_from_scratch(search, tmp_path):
    _, _, arch = search
    trainer_for(tmp_path, LastCheckpoint(tmp_path)).fit(module_for(arch, "scratch"), digits())
    last = tmp_path / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last)
    assert checkpoint.pop("init") == "scratch"
    torch.save(checkpoint, last)
    trainer_for(tmp_path, steps=2).fit(module_for(arch, "scratch"), digits(), ckpt_path=last)


def test_another_number_of_classes_keeps_the_classifier_fresh_and_says_so(search, tmp_path, capsys):
    supernet, init, arch = search

    class ThreeClasses(Digits):
        def __init__(self):
            super().__init__(resolution=8, batch_size=16)

        def train_dataloader(self):
            loader = super().train_dataloader()
            loader.dataset.targets = [target % 3 for target in loader.dataset.targets]
            return loader

    watch, module = Watch(), module_for(arch, init, classes=3)
    classifier = module.network.classifier.weight.detach().clone()
    trainer_for(tmp_path, watch).fit(module, datamodule=ThreeClasses())
    assert torch.equal(watch.first["classifier.weight"], classifier)
    assert torch.equal(watch.first["conv_head.weight"], supernet.extract(ARCH).conv_head.weight)
    lines = capsys.readouterr().out.splitlines()
    said = "the classifier starts fresh: 3 classes, where the weights have 10"
    assert lines.count(said) == 1


def test_resolution_classes_and_stem_stride_may_differ_from_the_supernets(search, tmp_path):
    supernet, init, _ = search
    other = dataclasses.replace(SPACE, resolution=16, classes=4, stem_stride=2)
    watch, module = Watch(), module_for(write(tmp_path, other, name="other.json"), init)
    trainer_for(tmp_path, watch).fit(module, digits())
    own = supernet.extract(ARCH).state_dict()
    for name, value in watch.first.items():
        assert torch.equal(value, own[name]), name


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"width": 0.2}, r"space\.width is 0\.2 in .*other\.json, but 0\.1 in .*search\.ckpt"),
        ({"layers": (-1, 0, 1)}, r"space\.layers is \(-1, 0, 1\) in"),
        ({"head": 24}, r"space\.head is 24 in"),
    ],
)
def test_an_arch_of_another_space_is_refused_by_setting(search, tmp_path, change, setting):
    _, init, _ = search
    arch = write(tmp_path, dataclasses.replace(SPACE, **change), name="other.json")
    with pytest.raises(UserError, match=setting):
        trainer_for(tmp_path).fit(module_for(arch, init), digits())


def options(folder, arch, init):
    return [
        f"--run={folder}",
        f"--model.arch={arch}",
        f"--model.init={init}",
        "--data=Digits",
        "--data.resolution=8",
        "--data.batch_size=16",
        "--trainer.max_epochs=1",
        "--trainer.limit_train_batches=2",
        "--trainer.accelerator=cpu",
        "--trainer.devices=1",
        "--trainer.enable_progress_bar=false",
        "--wandb.mode=disabled",
        "--model.recipe.lr=0.01",
    ]


def test_the_command_line_starts_from_a_supernet_and_tests_without_it(
    search, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("sys.argv", ["retrain"])
    _, init, arch = search
    folder = tmp_path / "run"
    run_command(lambda: main(["fit", *options(folder, arch, init)]))
    assert f"from the shared weights of {file_of(init)}: " in capsys.readouterr().out
    assert f"init: {init}" in (folder / "config.yaml").read_text()
    file_of(init).unlink()
    run_command(lambda: main(["test", *options(folder, arch, init)]))
    assert (folder / "test.json").exists()
