"""Options that cannot work are refused before the first step; paths begin at one's home."""

import sys

import pytest
import yaml
from jsonargparse import Namespace
from pytorch_lightning.callbacks import BatchSizeFinder, EarlyStopping, ModelCheckpoint

from retrain.__main__ import main as retrain
from supernet.command.arguments import Parser
from supernet.command.process import run_command
from supernet.errors import UserError
from supernet.run.options import (
    SAME,
    SameOptions,
    check_trainer,
    check_trainer_options,
    data_options,
    expanded,
)
from tests.helpers.tiny import TRAINING, write_tiny_arch

WORKING = {
    "accumulate_grad_batches": 2,
    "check_val_every_n_epoch": None,
    "gradient_clip_val": None,
    "log_every_n_steps": None,
    "num_sanity_val_steps": -1,
    "limit_train_batches": 0.5,
    "val_check_interval": "00:00:10:00",
    "max_epochs": -1,
    "fast_dev_run": False,
}
BROKEN = {
    "accumulate_grad_batches": (0, "at least 1"),
    "check_val_every_n_epoch": (0, "at least 1"),
    "gradient_clip_val": (-1.0, "at least 0"),
    "log_every_n_steps": (-1, "at least 1"),
    "num_sanity_val_steps": (-7, "at least -1"),
    "limit_train_batches": (0, "above 0"),
    "val_check_interval": (0.0, "above 0"),
    "max_epochs": (0, "at least 1, or -1 for no limit"),
}


def test_options_that_work_are_taken():
    check_trainer_options(Namespace(**WORKING))


@pytest.mark.parametrize("name", BROKEN)
def test_numbers_with_which_lightning_fails_later_are_named(name):
    value, limit = BROKEN[name]
    with pytest.raises(UserError, match=rf"trainer.{name} is {value}, it must be {limit}"):
        check_trainer_options(Namespace(**{**WORKING, name: value}))


class Built:
    """What is looked at of a trainer."""

    def __init__(self, precision, *callbacks):
        self.precision, self.callbacks = precision, callbacks


@pytest.mark.parametrize(
    ("asked", "built"),
    [(None, "32-true"), (32, "32-true"), ("bf16", "bf16-mixed"), ("16-mixed", "16-mixed")],
)
def test_precisions_with_weights_in_float32_are_taken(asked, built):
    check_trainer(Built(built, EarlyStopping("val/loss"), ModelCheckpoint()), asked, ["val/loss"])


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true", "transformer-engine"])
def test_other_precisions_are_refused(precision):
    with pytest.raises(UserError, match=rf"precision is {precision}: allowed are 32-true, bf16"):
        check_trainer(Built(precision), precision, [])


def test_a_precision_that_would_quietly_be_another_is_refused():
    with pytest.raises(UserError, match="this accelerator would take bf16-mixed instead"):
        check_trainer(Built("bf16-mixed"), "16-mixed", [])


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (EarlyStopping("val_loss"), "monitors 'val_loss', .* allowed are: val/loss, lr"),
        (ModelCheckpoint(monitor="val_acc"), "ModelCheckpoint monitors 'val_acc'"),
        (BatchSizeFinder(), "BatchSizeFinder makes steps of its own"),
    ],
)
def test_callbacks_that_cannot_work_are_named(callback, message):
    with pytest.raises(UserError, match=message):
        check_trainer(Built("32-true", callback), None, ["val/loss", "lr"])


# --- paths ----------------------------------------------------------------------------------------


def test_homes_are_expanded_wherever_a_path_may_stand(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    given = {"run": "~/runs/x", "model": {"init": "supernet:~/a.ckpt", "n": 3}, "list": ["~", "a~"]}
    assert expanded(given) == {
        "run": "/home/me/runs/x",
        "model": {"init": "supernet:/home/me/a.ckpt", "n": 3},
        "list": ["/home/me", "a~"],
    }


def test_a_run_lies_in_ones_home_alone(search, tiny_search, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as leaving:
        # Refused late, by its target, when the folder is there.
        run_command(lambda: search(*tiny_search[:2], "--run=~/runs/x", "--model.target=10"))
    assert leaving.value.code == 2
    assert yaml.safe_load((tmp_path / "home/runs/x/config.yaml").read_text())["run"] == str(
        tmp_path / "home/runs/x"
    )
    assert not (tmp_path / "~").exists()


def test_other_commands_expand_homes_and_refuse_empty_names(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/me")
    parser = Parser()
    parser.add_argument("--run", type=type(tmp_path))
    assert str(parser.parse_args(["--run=~/x"]).run) == "/home/me/x"
    assert str(parser.parse_args(["--run", "a/~/x"]).run) == "a/~/x"
    with pytest.raises(UserError, match="argument --run: it is empty: name a file or folder"):
        parser.parse_args(["--run", ""])


# --- continuing -----------------------------------------------------------------------------------


def test_arguments_of_data_are_told_one_by_one_but_for_those_that_may_change():
    class Moved:
        may_change = ("folder",)

    arguments = {"folder": "a", "flip": 0.5, "batch_size": 8, "hard": {"noise": 0.1}, "scale": None}
    data = {"class_path": "my.Data", "init_args": arguments, "dict_kwargs": {"more": 1}}
    assert data_options(data, Moved()) == {
        "data.class_path": "my.Data",
        "data.init_args.flip": 0.5,
        "data.init_args.hard.noise": 0.1,
        "data.init_args.scale": None,
        "data.dict_kwargs.more": 1,
    }
    assert data_options({"class_path": "my.Data"}, object()) == {"data.class_path": "my.Data"}


def test_a_run_from_before_the_data_were_kept_goes_on():
    same = SameOptions({"data.init_args.flip": 0.5})
    same.options |= {"trainer.precision": "32-true"}
    same.load_state_dict({"precision": "32-true"})
    with pytest.raises(UserError, match=r"trainer\.precision is 32-true, but the run to continue"):
        same.load_state_dict({"precision": "bf16-mixed"})


def test_a_run_goes_on_with_as_many_processes_as_it_began_with():
    def of(world_size):
        same = SameOptions({})
        same.setup(Namespace(**dict.fromkeys(SAME) | {"world_size": world_size}), None, "fit")
        return same

    of(2).load_state_dict(of(2).state_dict())
    with pytest.raises(UserError, match=r"trainer\.world_size is 2, but the run to continue has 1"):
        of(2).load_state_dict(of(1).state_dict())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Continue a retraining of four steps, with options that are added."""
    folder, before = tmp_path_factory.mktemp("trained"), sys.argv
    config = folder / "training.yaml"
    settings = TRAINING.replace("STEPS", "4").replace("ClutteredDigits", "Digits")
    config.write_text(settings.replace(", copies: 1", ""))
    options = ["--config", str(config), "--run", str(folder / "run"), "--trainer.accelerator=cpu"]
    options += ["--model.arch", write_tiny_arch(folder / "arch.json"), "--wandb.mode=disabled"]
    options += ["--trainer.limit_train_batches=4"]
    sys.argv = ["retrain"]

    def run(*more):
        retrain(["fit", *options, *more])

    run()
    yield run
    sys.argv = before


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--trainer.accumulate_grad_batches=2", "accumulate_grad_batches is 2, but .* has 1"),
        ("--trainer.precision=bf16-mixed", "precision is bf16-mixed, but .* has 32-true"),
        ("--trainer.gradient_clip_val=1.5", "gradient_clip_val is 1.5, but .* has None"),
    ],
)
def test_a_run_is_not_continued_with_other_options(trained, option, message):
    with pytest.raises(UserError, match=message):
        trained("--ckpt_path=last", option)
