"""The dry pass finds what fails before anything long, and leaves no trace."""

import sys

import pytest
import torch

from retrain import dry_pass
from retrain.__main__ import main as retrain
from search.controllers.policy_gradient import PolicyGradient
from search.dry_pass import SearchDryPass
from search.plan import time_left
from supernet.command.process import run_command
from supernet.data.digits import Digits
from supernet.network.network import Network
from supernet.network.supernet import SuperNet
from supernet.run.dry_pass import DryPass
from tests.helpers.interrupted import assert_same_weights
from tests.helpers.tiny import TRAINING, write_tiny_arch


def fail(*_, **__):
    raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")


def weights(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_a_dry_run_of_a_search_leaves_no_file(search, tiny_search, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    run_command(lambda: search(*tiny_search, "--dry_run"))
    out = capsys.readouterr().out
    assert (
        "dry run: one weight step, one update of the controller, one judged network, one"
        " checkpoint in"
    ) in out
    assert sorted(tmp_path.iterdir()) == before


PIECES = {
    "one weight step": (SuperNet, "forward"),
    "one update of the controller": (PolicyGradient, "learn"),
    "one judged network": (Network, "forward"),
    "one checkpoint": (SearchDryPass, "_save"),
}


@pytest.mark.parametrize("piece", PIECES)
def test_what_fails_is_named_before_the_first_step(
    search, tiny_search, tmp_path, capsys, monkeypatch, piece
):
    monkeypatch.setattr(*PIECES[piece], fail)
    with pytest.raises(SystemExit) as leaving:
        run_command(lambda: search(*tiny_search))
    assert leaving.value.code == 2
    found = capsys.readouterr()
    (line,) = found.err.splitlines()
    assert line.startswith(f"error: {piece} fails before anything is trained: RuntimeError: CUDA")
    assert "(tests/supernet/run/test_dry_pass.py, line" in line
    assert line.endswith("lower data.init_args.batch_size, or give a device of more memory")
    assert "search 0/24" not in found.out
    # What was refused stands in nobody's way.
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))


def test_a_dry_pass_changes_no_bit_of_a_search(search, tiny_search, tmp_path, capsys, monkeypatch):
    options = ["--trainer.max_steps=11", "--model.schedule.share=0.7"]
    options += ["--model.final.candidates=1", "--model.final.tuning_steps=0"]
    monkeypatch.setattr(time_left, "SHORTEST", 1)  # what an estimate times changes none either
    search(*tiny_search, *options)
    assert "8 px: 11 steps, about " in capsys.readouterr().out
    monkeypatch.setattr(DryPass, "on_train_start", lambda *_: None)
    search(*tiny_search, *options, "--run", tmp_path / "other")
    assert_same_weights(weights(tmp_path / "run"), weights(tmp_path / "other"))


def test_a_search_without_shared_weights_has_one_too(search, tuned_search, tmp_path, capsys):
    run_command(lambda: search(*tuned_search, "--model.schedule.share=0", "--dry_run"))
    tried = "dry run: one update of the controller, one judged network, one checkpoint in"
    assert tried in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


@pytest.fixture
def train(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["retrain"])
    config = tmp_path / "training.yaml"
    settings = TRAINING.replace("STEPS", "4").replace("ClutteredDigits", "Digits")
    config.write_text(settings.replace(", copies: 1", "").replace("ema_decay: 0,", ""))
    options = ["--config", config, "--model.arch", write_tiny_arch(tmp_path / "arch.json")]
    options += ["--trainer.limit_train_batches=4", "--trainer.accelerator=cpu"]

    def run(*more, verb="fit"):
        line = [verb, *options, "--wandb.mode=disabled", "--run", tmp_path / "run", *more]
        run_command(lambda: retrain([*map(str, line)]))

    return run


def test_a_dry_pass_changes_no_bit_of_a_training(train, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(dry_pass, "SHORTEST", 1)
    train("--dry_run=true")
    out = capsys.readouterr().out
    assert "dry run: one weight step, one judged batch, one checkpoint in" in out
    assert "1,438 images of 10 classes at 8 px: 4 steps, about " in out
    assert not (tmp_path / "run").exists()
    train()
    monkeypatch.setattr(DryPass, "on_train_start", lambda *_: None)
    train("--run", tmp_path / "other")
    assert_same_weights(weights(tmp_path / "run"), weights(tmp_path / "other"))


def test_a_dry_run_is_of_a_fit(train, capsys):
    with pytest.raises(SystemExit) as leaving:
        train("--dry_run", verb="test")
    assert leaving.value.code == 2
    assert capsys.readouterr().err == "error: --dry_run tries a fit: leave it out\n"


def test_a_fault_of_the_users_data_is_placed(train, tmp_path, monkeypatch, capsys):
    def odd(self, indices, seeds=None):
        return [(image[:2], label) for image, label in items(self, indices, seeds)]

    data = type(Digits(resolution=8).train_dataloader().dataset)
    items = data.seeded_items
    monkeypatch.setattr(data, "seeded_items", odd)
    with pytest.raises(SystemExit):
        train("--trainer.num_sanity_val_steps=0")
    line = capsys.readouterr().err
    assert line.startswith("error: one weight step fails before anything is trained: RuntimeError")
    assert "2 channels" in line
    assert not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()
