"""--model.init timm: a retraining starts from timm's weights; and what no init can mean."""

import os
import random

import pytest
import pytorch_lightning as pl
import timm
import torch
from safetensors.torch import save_file

from retrain.__main__ import main
from retrain.module import RetrainModule
from supernet.arch_file import write_arch
from supernet.command.process import run_command
from supernet.data.digits import Digits
from supernet.errors import UserError
from supernet.space.mnasnet import MnasSpace
from supernet.space.published import published_spec
from supernet.timm_arch import timm_names
from tests.helpers.archs import counted_arch

SPACE = MnasSpace(width=0.1, stem_stride=1, resolution=8, classes=10, head=16)
HUB = "timm.models._builder.load_state_dict_from_hf"
"""What timm calls to fetch weights, in the only place where it does."""
TRAINED = (
    "mnasnet_small, mnasnet_b1, mobilenet_v2_050, mobilenet_v2, mobilenet_v2_110d,"
    " mobilenet_v2_120d, mobilenet_v2_140, mnasnet_a1_075, mnasnet_a1"
)


@pytest.fixture
def arch(tmp_path):
    found = counted_arch(SPACE, SPACE.sample(random.Random(0)))
    write_arch(tmp_path / "arch.json", found)
    return str(tmp_path / "arch.json")


def module_for(arch, init, classes=10):
    return RetrainModule(arch, classes, resolution=8, stem_stride=1, init=init)


def fit(module, folder, *callbacks):
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        max_steps=1,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=list(callbacks),
    )
    trainer.fit(module, datamodule=Digits(resolution=8, batch_size=16))


class First(pl.Callback):
    """Keeps the weights at the start."""

    def on_train_start(self, trainer, pl_module):
        self.weights = {
            name: value.clone() for name, value in pl_module.network.state_dict().items()
        }


@pytest.mark.parametrize(("name", "classes"), [("mnasnet_small", 1000), ("mnasnet_a1_075", 10)])
def test_training_starts_from_what_timm_fetches(name, classes, tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    theirs = timm_names()[name]
    reference, asked = timm.create_model(theirs), []
    reference(torch.randn(8, 3, 32, 32))  # statistics other than a fresh network's

    def fetch(location, *_, **__):
        asked.append(location)
        return reference.state_dict()

    monkeypatch.setattr(HUB, fetch)
    first, module = First(), module_for(name, "timm", classes)
    fresh = {
        "classifier." + key: value.clone()
        for key, value in module.network.classifier.state_dict().items()
    }
    assert asked == []  # nothing is fetched before a training starts
    fit(module, tmp_path, first)
    assert [location.partition(".")[0] for location in asked] == [f"timm/{theirs}"]
    expected = {**reference.state_dict(), **(fresh if classes == 10 else {})}
    assert first.weights.keys() == expected.keys()
    for key, value in first.weights.items():
        assert torch.equal(value, expected[key]), key
    out = capsys.readouterr().out
    assert f"training {name} from timm's weights {theirs}: " in out
    said = "the classifier starts fresh: 10 classes, where the weights have 1000"
    assert out.count(said) == (classes == 10)


@pytest.mark.parametrize("error", [ConnectionError("no route\nto host"), OSError("offline")])
def test_without_a_connection_the_way_out_is_one_line(error, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(HUB, fail)
    with pytest.raises(UserError, match=r"weights mnasnet_small cannot be fetched") as refusal:
        fit(module_for("mnasnet_small", "timm"), tmp_path)
    line = str(refusal.value)
    assert f"({type(error).__name__}: {' '.join(str(error).split())})" in line
    assert "HF_HOME" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("imagenet", "init is 'imagenet', allowed are scratch, timm, timm:FILE and supernet:FILE"),
        ("supernet", "init is 'supernet', allowed are"),
        ("supernet:", "init is 'supernet:', allowed are"),
        ("timm:", "init is 'timm:', allowed are"),
        ("", "init is '', allowed are"),
    ],
)
def test_a_form_that_is_none_is_refused(arch, init, message):
    with pytest.raises(UserError, match=message):
        module_for(arch, init)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_training_starts_from_a_file_of_weights(suffix, tmp_path):
    torch.manual_seed(0)
    reference = timm.create_model("mnasnet_small", num_classes=7)
    file = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save({"state_dict": reference.state_dict()}, file)
    else:
        save_file(reference.state_dict(), file)
    first, module = First(), module_for("mnasnet_small", f"timm:{file}")
    fit(module, tmp_path, first)
    for key, value in reference.state_dict().items():
        if not key.startswith("classifier."):
            assert torch.equal(first.weights[key], value), key


def test_a_file_that_holds_other_or_no_weights_is_one_line(arch, tmp_path):
    file = tmp_path / "weights.pth"
    with pytest.raises(UserError, match=f"init is timm:{file}, but there is no such file"):
        fit(module_for(arch, f"timm:{file}"), tmp_path)
    file.write_bytes(b"no weights")
    with pytest.raises(UserError, match=f"{file} holds no weights"):
        fit(module_for(arch, f"timm:{file}"), tmp_path)
    torch.save(timm.create_model("mnasnet_small").state_dict(), file)
    with pytest.raises(UserError, match=f"{file} holds another network than {arch}: of "):
        fit(module_for(arch, f"timm:{file}"), tmp_path)


def test_only_found_networks_have_a_supernet_and_only_some_published_ones_trained_weights(arch):
    with pytest.raises(UserError, match=r"mnasnet_a1 is a published network, .* or init timm"):
        module_for("mnasnet_a1", "supernet:last.ckpt")
    for name in (arch, "mnasnet_a1_050", "mnasnet_small_050"):
        with pytest.raises(UserError, match=f"no trained weights of {name}, only of {TRAINED}:"):
            module_for(name, "timm")
    for name in TRAINED.split(", "):
        assert module_for(name, "timm").found == published_spec(name)


def options(folder, arch, init):
    return [
        f"--run={folder}",
        f"--model.arch={arch}",
        f"--model.init={init}",
        "--data=Digits",
        "--data.resolution=8",
        "--trainer.max_steps=1",
        "--trainer.accelerator=cpu",
        "--trainer.devices=1",
        "--wandb.mode=disabled",
    ]


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ("supernet:missing.ckpt", "missing.ckpt is no checkpoint of a search"),
        ("imagenet", "init is 'imagenet', allowed are scratch"),
        ("timm", "timm has no trained weights of"),
    ],
)
def test_the_command_line_refuses_in_one_line(arch, tmp_path, monkeypatch, capsys, init, words):
    monkeypatch.setattr("sys.argv", ["retrain"])
    with pytest.raises(SystemExit) as leaving:
        run_command(lambda: main(["fit", *options(tmp_path / "run", arch, init)]))
    assert leaving.value.code == 2
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith("error: ")
    assert words in error[-1]


@pytest.mark.slow
def test_the_hubs_own_client_without_a_connection_ends_in_one_line(tmp_path, command):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    call = options(tmp_path / "run", "mnasnet_small", "timm")
    done = command("retrain", "fit", *call, env=environment)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: timm's weights mnasnet_small cannot be")
    assert "Traceback" not in done.stderr
