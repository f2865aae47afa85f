"""A detector that starts from a classifier's weights, or from those that a search shared."""

import dataclasses

import pytest
import pytorch_lightning as pl
import torch

from retrain.cli import run_callbacks
from retrain.detect.ssdlite import SSDLite
from retrain.module import RetrainModule
from supernet.arch_file import read_arch
from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.network.supernet import SuperNet
from supernet.run.checkpoints import LastCheckpoint
from tests.helpers.detectors import (
    QUICK,
    SMALL,
    boxes,
    module_for,
    trainer_for,
    write_searched_arch,
)
from tests.helpers.interrupted import assert_same_weights, weights


@pytest.fixture
def arch(tmp_path):
    return write_searched_arch(tmp_path / "arch.json", width=0.1, head=32)


def classifier_checkpoint(arch, folder):
    """A retraining of 20 steps: weights that are not fresh, and batch norms that have seen data."""
    digits = RunData(Digits(resolution=16, batch_size=64), role="retrain", seed=0)
    recipe = dataclasses.replace(QUICK, dropout=0.1)
    module = RetrainModule(arch, 10, 16, 1, recipe)
    trainer_for(folder, *run_callbacks(folder), max_epochs=1).fit(module, digits)
    return folder / "checkpoints" / "best.ckpt"


class Watch(pl.Callback):
    """Keeps the weights before the first step."""

    def on_train_start(self, trainer, pl_module):
        self.first = weights(pl_module)


@pytest.mark.parametrize("ssdlite", [SMALL, SSDLite("paper", (16,))])
def test_a_detector_starts_from_a_classifiers_weights(arch, tmp_path, ssdlite):
    path = classifier_checkpoint(arch, tmp_path / "classifier")
    trained = torch.load(path)["state_dict"]
    folder, watch = tmp_path / "detector", Watch()
    module = module_for(arch, ssdlite, init=str(path))
    fresh = weights(module)
    callbacks = [watch, LastCheckpoint(folder)]
    trainer_for(folder, *callbacks, max_epochs=1).fit(module, boxes())
    trunk = "network.backbone.features."
    given = {name for name in fresh if name.startswith(trunk)}
    for name in fresh:
        source = trained["network." + name.removeprefix(trunk)] if name in given else fresh[name]
        assert torch.equal(watch.first[name], source), name
    assert any(not torch.equal(fresh[name], watch.first[name]) for name in given)
    assert (f"{trunk}conv_head.weight" in given) == (ssdlite.taps == "paper")

    # A run that goes on has its weights from its own checkpoint, whatever became of the other.
    last, again = folder / "checkpoints" / "last.ckpt", Watch()
    trained_so_far = torch.load(last)["current_model_state"]
    path.unlink()
    continued = module_for(arch, ssdlite, init=str(path))
    trainer_for(folder, again, max_epochs=2).fit(continued, boxes(), ckpt_path=last)
    assert_same_weights(again.first, trained_so_far)


def test_another_networks_weights_are_refused(arch, tmp_path):
    path = classifier_checkpoint(arch, tmp_path / "classifier")
    other = write_searched_arch(tmp_path / "other.json", seed=1, width=0.1, head=32)
    with pytest.raises(UserError, match=r"best.ckpt holds another network than --model.arch"):
        trainer_for(tmp_path).fit(module_for(other, init=str(path)), boxes())
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"best.ckpt is not a whole checkpoint of a retraining"):
        trainer_for(tmp_path).fit(module_for(arch, init=str(path)), boxes())


@pytest.mark.parametrize("ssdlite", [SMALL, SSDLite("paper", (16,))])
def test_a_detector_starts_from_a_searchs_shared_weights(arch, tmp_path, ssdlite):
    found = read_arch(arch)
    supernet = SuperNet(found.space)
    state = {f"supernet.{name}": value for name, value in supernet.state_dict().items()}
    search = {"space": dataclasses.asdict(found.space), "seed": 0}
    torch.save({"search": search, "state_dict": state}, tmp_path / "search.ckpt")
    init, watch, means = f"supernet:{tmp_path / 'search.ckpt'}", Watch(), []
    recipe = dataclasses.replace(QUICK, ema_decay=0.0)
    module = module_for(arch, ssdlite, recipe, init)
    features = module.network.backbone.features
    features.conv_stem.register_forward_hook(
        lambda _, inputs, output: means.append(output.detach().mean((0, 2, 3)))
    )
    trainer_for(tmp_path, watch, max_epochs=1, limit_val_batches=0).fit(module, boxes())
    trunk, shared = "network.backbone.features.", supernet.path_weights(found.arch)
    own = {name for name, _ in features.named_parameters()}
    assert own <= shared.keys()
    head = set() if ssdlite.taps == "paper" else {"conv_head.weight", "bn2.weight", "bn2.bias"}
    # Stages beyond the last map are left out too.
    assert {name for name in shared if not name.startswith("blocks.")} - own == {
        "classifier.weight",
        "classifier.bias",
        *head,
    }
    for name in own:
        assert torch.equal(watch.first[trunk + name], shared[name]), name
    # Nothing is left of a fresh network's mean 0: four batches have equal weight.
    assert len(means) == 4
    torch.testing.assert_close(features.bn1.running_mean, torch.stack(means).mean(0))
    norms = [one for one in module.network.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {1 / 4}
