"""Numbers that are not finite: no run ends well with one, and none reaches a checkpoint."""

import csv
import random
import sys

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import MixedPrecision

from retrain.__main__ import main as retrain
from retrain.module import RetrainModule
from search.module import SearchModule
from search.settings import Sampling, WeightOptimizer
from supernet.arch_file import write_arch
from supernet.command.process import run_command
from supernet.data.digits import ClutteredDigits, Digits
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.network.network import Network
from supernet.run.finite import MOST_IN_A_ROW, FiniteGuard
from supernet.space.arch import Arch, BlockChoice
from tests.helpers.archs import counted_arch
from tests.helpers.poison import Poison, nonfinite
from tests.helpers.tiny import SPACE, TRAINING

POISON = "--trainer.callbacks=tests.helpers.poison.Poison"


def poison(place, step, steps=1):
    options = {"place": place, "step": step, "steps": steps}
    return [POISON, *(f"--trainer.callbacks.{name}={value}" for name, value in options.items())]


def loaded(path):
    return torch.load(path, weights_only=True)


@pytest.fixture
def train(tmp_path, monkeypatch):
    """A retraining of 24 steps in ``tmp_path/run``, by its command line."""
    config, arch = tmp_path / "training.yaml", tmp_path / "arch.json"
    block = BlockChoice("mbconv3", 3, 0.25, "none", 1.0, 0)
    write_arch(arch, counted_arch(SPACE, Arch((block, block))))
    settings = TRAINING.replace("STEPS", "24").replace("ema_decay: 0,", "ema_decay: 0.9,")
    config.write_text(settings.replace("ClutteredDigits", "Digits").replace(", copies: 1", ""))

    def run(*more, verb="fit"):
        monkeypatch.setattr(sys, "argv", ["retrain"])
        options = ["--config", config, "--run", tmp_path / "run", "--model.arch", arch]
        common = ["--trainer.accelerator=cpu", "--wandb.mode=disabled", "--checkpoint_every_s=0.05"]
        line = [verb, *options, *common, "--trainer.limit_train_batches=8", *more]
        run_command(lambda: retrain([*map(str, line)]))

    return run


@pytest.fixture
def line(capsys):
    """The one line by which a function is refused."""

    def run(function, *args):
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            function(*args)
        assert leaving.value.code == 2
        (error,) = capsys.readouterr().err.splitlines()
        return error

    return run


SEARCH_FINDS = {
    "batch": "a value of the batch is not finite (nan or infinity) in step {}",
    "gradient": "is not finite",
    "weight": "is not finite",
    "controller": "the weight controller.policy.",
    "optimizer": "is not finite",
}
TRAINING_FINDS = {**SEARCH_FINDS, "average": "the weight network.conv_stem.weight is not finite"}
del TRAINING_FINDS["controller"]


SLOW = ("gradient", "weight", "optimizer")  # which a training meets too
PLACES = [pytest.param(one, marks=[pytest.mark.slow] * (one in SLOW)) for one in SEARCH_FINDS]


@pytest.mark.parametrize("place", PLACES)
def test_a_poisoned_search_stops_in_one_line_and_its_checkpoint_stays_finite(
    search, tiny_search, tmp_path, line, place
):
    step = random.Random(place).randrange(3, 20)
    options = [*tiny_search, "--checkpoint_every_s=0.05", *poison(place, step)]
    error = line(lambda: run_command(lambda: search(*options)))
    assert SEARCH_FINDS[place].format(step) in error
    assert "at learning rate 0.00" in error
    assert "and precision 32-true; nothing of it was saved" in error
    assert "--ckpt_path last --on_nonfinite skip" in error
    if place != "batch":
        assert "a lower model.weights.lr" in error
    last = loaded(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert nonfinite(last) == []
    assert last["search"]["steps_done"] <= step + 1
    assert not (tmp_path / "run" / "arch.json").exists()


@pytest.mark.parametrize("place", TRAINING_FINDS)
def test_a_poisoned_training_stops_in_one_line_and_its_checkpoints_stay_finite(
    train, tmp_path, line, place
):
    step = random.Random(place).randrange(9, 20)
    error = line(lambda: train(*poison(place, step)))
    assert TRAINING_FINDS[place].format(step) in error
    assert "a lower model.recipe.lr" in error or place == "batch"
    for name in ("last", "best"):
        assert nonfinite(loaded(tmp_path / "run" / "checkpoints" / f"{name}.ckpt")) == []


def test_steps_that_are_skipped_leave_no_trace_and_are_counted(train, tmp_path, capsys):
    train("--on_nonfinite=skip", *poison("batch", 5, 3), "--trainer.log_every_n_steps=1")
    assert "note: 3 of 24 weight steps were left out" in capsys.readouterr().out
    with (tmp_path / "run" / "metrics.csv").open() as file:
        counts = {
            int(row["step"]): row["train/skipped"]
            for row in csv.DictReader(file)
            if row["train/skipped"]
        }
    assert [counts[step] for step in (4, 5, 6, 7, 8, 23)] == [
        "0.0",
        "0.0",
        "1.0",
        "2.0",
        "3.0",
        "3.0",
    ]
    last = loaded(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert nonfinite(last) == []
    assert last["callbacks"]["FiniteGuard"]["steps"] == 3


def test_a_skipped_step_changes_neither_weights_nor_statistics(tmp_path):
    kept = {}

    class Keep(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            state = pl_module.state_dict()
            kept[trainer.global_step - 1] = {name: one.clone() for name, one in state.items()}

    module = RetrainModule("mnasnet_small", 10, 8, 1)
    data = RunData(Digits(resolution=8, batch_size=16), "retrain", 0)
    guard = FiniteGuard("skip")
    trainer_of(tmp_path, Poison("gradient", 2), guard, Keep(), max_steps=4).fit(module, data)
    same = {n: all(kept[n][name].equal(kept[n - 1][name]) for name in kept[n]) for n in (1, 2, 3)}
    assert same == {1: False, 2: True, 3: False}
    assert guard.steps == 1


def trainer_of(folder, *callbacks, **settings):
    return pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        **settings,
    )


@pytest.mark.parametrize("place", ["batch", "gradient"])
def test_16_mixed_leaves_steps_out_that_overflow_and_stops_at_all_others(
    tmp_path, monkeypatch, place
):
    monkeypatch.setattr("supernet.run.finite._waits", lambda _: True)  # as on a GPU
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    settings = {"max_steps": 6, "plugins": [MixedPrecision("16-mixed", "cpu", scaler)]}
    guard = FiniteGuard()
    trainer = trainer_of(tmp_path, Poison(place, 3), guard, **settings)
    data = RunData(Digits(resolution=8, batch_size=16), "retrain", 0)
    try:
        trainer.fit(RetrainModule("mnasnet_small", 10, 8, 1), data)
        ended = ""
    except UserError as error:
        ended = str(error)
    seen = "a value of the batch is not finite (nan or infinity) in step 3"
    assert (seen in ended, guard.steps) == {"batch": (True, 0), "gradient": (False, 1)}[place]


def test_a_search_leaves_poisoned_steps_and_updates_out(search, tiny_search, tmp_path, capsys):
    search(*tiny_search, "--on_nonfinite=skip", *poison("batch", 3, 2))
    assert "note: 2 of 24 weight steps were left out" in capsys.readouterr().out
    assert nonfinite(loaded(tmp_path / "run" / "checkpoints" / "last.ckpt")) == []
    assert (tmp_path / "run" / "arch.json").exists()


def nan_scores(search_module, archs, batch):
    return torch.full((len(archs),), torch.nan)


def test_scores_that_are_not_finite_stop_a_search_whatever_is_skipped(
    search, tiny_search, tmp_path, line, monkeypatch
):
    monkeypatch.setattr(SearchModule, "slice_scores", nan_scores)
    error = line(lambda: run_command(lambda: search(*tiny_search)))
    assert "a score on the reward images is not finite" in error
    again = [*tiny_search, "--ckpt_path=last", "--on_nonfinite=skip"]
    error = line(lambda: run_command(lambda: search(*again)))
    assert "2 of 2 updates of the controller were left out" in error
    assert not (tmp_path / "run" / "arch.json").exists()


def test_a_run_of_nothing_but_poison_ends_with_an_error(train, tmp_path, line):
    options = ["--on_nonfinite=skip", *poison("batch", 0, 80)]
    error = line(lambda: train(*options, "--trainer.max_steps=8"))
    assert "8 of 8 weight steps were left out" in error
    error = line(lambda: train(*options, "--trainer.max_steps=80", "--run", tmp_path / "long"))
    assert f"{MOST_IN_A_ROW + 1} steps in a row were left out" in error


def test_weights_to_start_from_must_be_finite(train, tmp_path, line):
    train()
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    poisoned = loaded(last)
    poisoned["current_model_state"]["network.conv_stem.weight"][0] = torch.inf
    torch.save(poisoned, last)
    error = line(lambda: train("--ckpt_path=last", "--trainer.max_steps=30"))
    assert "the weight network.conv_stem.weight to start from is not finite" in error


@pytest.mark.parametrize("split", ["val", "test"])
def test_images_that_are_not_finite_give_no_figures(train, tmp_path, line, monkeypatch, split):
    if split == "test":
        train()
    images = Digits._images

    def poisoned(self, *splits, **settings):
        found = list(images(self, *splits, **settings))
        if split in splits:
            found[7][0][0] = torch.nan
        return found

    monkeypatch.setattr(Digits, "_images", poisoned)
    monkeypatch.setattr(ClutteredDigits, "_images", poisoned)
    error = line(lambda: train(verb="test" if split == "test" else "fit"))
    assert f"an image or label of the {split} split is not finite" in error
    assert not (tmp_path / "run" / "test.json").exists()
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").exists() is (split == "test")


def test_networks_that_answer_nan_are_not_chosen(search, tiny_search, tmp_path, line, monkeypatch):
    def answer(self, images):
        return torch.full((len(images), 10), torch.nan)

    monkeypatch.setattr(Network, "forward", answer)
    options = ["--model.final.tuning_steps=0", "--model.sampling.every=23"]
    error = line(lambda: run_command(lambda: search(*tiny_search, *options)))
    assert "loss on the validation images is nan" in error
    assert not (tmp_path / "run" / "arch.json").exists()


@pytest.mark.filterwarnings("ignore:You passed in a `val_dataloader`")
def test_16_mixed_shortens_gradients_of_their_own_size(tmp_path):
    """A scaled gradient is 65,536 times as long: it was cut to nothing."""

    class Norms(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, *_):
            norms.append(outputs["record"].logs["train/gradient_norm"])
            moved.append(pl_module.supernet.classifier.weight.detach().clone())

    found = {}
    for name in ("32-true", "16-mixed"):
        norms, moved = [], []
        torch.manual_seed(0)
        module = SearchModule(
            10,
            8,
            1,
            space=SPACE,
            cost="macs",
            sampling=Sampling("soft_accuracy", every=2, samples=4),
            weights=WeightOptimizer(lr=0.01, max_grad_norm=0.5),
        )
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
        plugins = [MixedPrecision(name, "cpu", scaler)] if name == "16-mixed" else None
        data = RunData(Digits(resolution=8, batch_size=16), "search", 0)
        settings = {"max_steps": 12, "log_every_n_steps": 1, "plugins": plugins}
        trainer_of(tmp_path, FiniteGuard(), Norms(), **settings).fit(module, data)
        found[name] = norms, float((moved[1] - moved[0]).norm())
    for full, half in zip(found["32-true"][0][:2], found["16-mixed"][0][:2], strict=True):
        assert half == pytest.approx(full, rel=0.02)
    assert found["16-mixed"][1] == pytest.approx(found["32-true"][1], rel=0.05)
