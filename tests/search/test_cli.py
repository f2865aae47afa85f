"""What a search ends with: commands that retraining takes as they are."""

import dataclasses
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl

from search.checks import check_run, note_reference
from search.cli import next_steps
from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.files.shipped import shipped_configs
from supernet.space.mnasnet import read_space


def steps(run="runs/digits-search", archs=("arch.json",), configs=(), words=()):
    run = Path(run)
    return next_steps(run, [run / name for name in archs], [*map(Path, configs)], words)


def test_the_config_beside_the_searchs_is_taken(tmp_path):
    (tmp_path / "retrain.yaml").touch()
    (line,) = steps(configs=[tmp_path / "search.yaml"])
    arch = "runs/digits-search/arch.json"
    options = f"-c {tmp_path / 'retrain.yaml'} --run runs/digits-retrain --model.arch {arch}"
    assert line == f"mnasnet retrain {options}"


def test_a_config_that_ships_has_its_name():
    (line,) = steps(configs=[shipped_configs()["digits/search"]])
    assert "retrain -c digits/retrain --run" in line


def test_a_config_of_data_alone_is_taken_as_it_is(tmp_path):
    (tmp_path / "mine.yaml").write_text("data: {init_args: {root: photos}}\n")
    (tmp_path / "other.yaml").write_text("model: {target: p20}\n")
    own = [tmp_path / "mine.yaml", tmp_path / "other.yaml"]
    (line,) = steps(configs=[shipped_configs()["photos/search"], *own])
    assert f"-c photos/retrain -c {tmp_path / 'mine.yaml'} --run" in line
    assert "other.yaml" not in line


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ("fit -c a.yaml --data.root DIR --run x", "--data.root DIR"),
        ("fit --data=Digits --data.flip 0 --seed_everything 3", "--data=Digits --data.flip 0"),
        ("fit --data.root 'a b' --trust mine --model.target 1", "--data.root 'a b' --trust mine"),
        ("fit --data.init_args.split_seed -1 --run x", "--data.init_args.split_seed -1"),
        ("fit --model.target p20", ""),
    ],
)
def test_the_options_of_the_data_are_given_again(words, taken):
    (line,) = steps(words=shlex.split(words))
    assert shlex.split(line, comments=True)[8:] == shlex.split(taken)


def test_each_target_has_a_line_and_a_folder_of_its_own():
    first, second = steps("runs/x", ("arch-p20.json", "arch-p50.json"))
    assert "--run runs/x-retrain-p20 --model.arch runs/x/arch-p20.json" in first
    assert "--run runs/x-retrain-p50 --model.arch runs/x/arch-p50.json" in second
    assert first.endswith("# RETRAIN.yaml: the config of a retraining")


NAMED = ["--model.space.reference=mnasnet_a1"]


@pytest.mark.parametrize(
    ("name", "settings", "words", "told"),
    [
        ("digits", {"reference": "mnasnet_a1"}, NAMED, "mnasnet_a1"),
        ("digits", {"reference": "mnasnet_a1"}, [], "mnasnet_a1"),
        ("clutter", {}, ["fit", "--model.space.reference", "mobilenet_v2"], "mobilenet_v2"),
        ("clutter", {}, ["fit", "--model.space", "spaces/clutter"], None),
        ("cifar", {}, NAMED, None),
        ("mnasnet_a1", {"strides": (1,) * 7}, NAMED, None),
        ("digits", {"reference": "mnasnet_a1", "base_filters": (), "base_layers": ()}, NAMED, None),
        ("digits", {"reference": "mnasnet_a1", "strides": ()}, NAMED, None),
    ],
)
def test_a_reference_that_gives_nothing_is_told_of(name, settings, words, told, capsys):
    space = read_space(f"spaces/{name}")
    note_reference(dataclasses.replace(space, **settings), words)
    note = f"note: model.space.reference {told} changes nothing, as base_filters, base_layers and"
    assert capsys.readouterr().out.partition(" strides are all")[0] == (note if told else "")


def test_a_search_refuses_batch_norms_that_processes_share():
    shape = {"accelerator": "cpu", "devices": 2, "strategy": "ddp", "logger": False}
    data = RunData(Digits(resolution=8), "search", 0)
    for shares in (True, False):
        strategy = pl.Trainer(**shape, sync_batchnorm=shares).strategy
        trainer = SimpleNamespace(datamodule=data, gradient_clip_val=None, strategy=strategy)
        if not shares:
            check_run(trainer)
            continue
        with pytest.raises(UserError, match=r"trainer\.sync_batchnorm is true, but each process"):
            check_run(trainer)
