"""data.batch_size auto: found once, kept by the run, and the line about memory."""

import re

import pytest
import torch
import yaml

from retrain.__main__ import main as retrain
from supernet.run import dry_pass
from tests.helpers.interrupted import assert_same_weights
from tests.helpers.tiny import TRAINING, write_tiny_arch

OPTIONS = ("--trainer.accelerator=cpu", "--wandb.mode=disabled", "--threads=1")


@pytest.fixture
def train(tmp_path, monkeypatch):
    config = tmp_path / "retrain.yaml"
    config.write_text(TRAINING.replace("STEPS", "4").replace("batch_size: 16", "batch_size: auto"))
    arch = write_tiny_arch(tmp_path / "arch.json")

    def fit(name, free, *options):
        monkeypatch.setattr(dry_pass, "free_bytes", lambda *_: free)
        run = tmp_path / name
        words = ["-c", config, "--run", run, "--model.arch", arch, *OPTIONS, *options]
        retrain(["fit", *map(str, words)])
        data = yaml.safe_load((run / "config.yaml").read_text())["data"]
        state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        return data["init_args"]["batch_size"], state["state_dict"]

    return fit


def test_the_largest_batch_is_found_told_and_kept(train, capsys):
    found, weights = train("small", 2 * 2**20)
    out = capsys.readouterr().out
    fits = int(re.search(r"data.batch_size auto: \d+ \((\d+) fit into 2 MiB of free", out)[1])
    assert found == fits - fits % 8 > 8
    assert re.search(rf"memory: .* for {found} images a step, .* up to {fits} images", out)
    # More memory by now changes nothing of a run that goes on, and one of that number is the same.
    again, _ = train("small", 2**40, "--ckpt_path=last", "--trainer.max_steps=6")
    assert again == found
    given, same = train("plain", 2**40, f"--data.batch_size={found}")
    assert given == found
    assert "batch_size auto" not in capsys.readouterr().out
    assert_same_weights(weights, same)


def test_an_epoch_keeps_ten_steps(train):
    found, _ = train("large", 2**40)
    assert found == 80  # of 809 images


def test_ranks_agree_on_the_batch_of_the_least_device(train, capsys, monkeypatch):
    told = []

    def least_of_two(mine):
        told.append(int(mine))
        return torch.minimum(mine, torch.tensor(16))

    monkeypatch.setattr(dry_pass, "least_over_ranks", least_of_two)
    found, _ = train("two", 2**40)
    assert (told, found) == ([80], 16)
    assert "data.batch_size auto: 16 (" in capsys.readouterr().out


def test_a_search_finds_one_too(search, tuned_search, capsys, monkeypatch):
    monkeypatch.setattr(dry_pass, "free_bytes", lambda *_: 16 * 2**20)
    search(*tuned_search, "--data.batch_size=auto", "--dry_run")
    assert re.search(r"data.batch_size auto: \d+ \(\d+ fit into 16 MiB", capsys.readouterr().out)
