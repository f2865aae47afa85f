"""Trainings that are asked to stop, run out of time or never validate."""

import signal
import tempfile
from datetime import timedelta

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.trainer.connectors.signal_connector import _SignalConnector

from retrain.cli import run_callbacks
from retrain.module import RetrainModule
from supernet.command.stopping import STOP, Stopped
from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from supernet.run.callbacks import RunFiles, SeedEachStep
from supernet.run.checkpoints import LastCheckpoint
from supernet.tracking.metrics import MetricsCsv
from supernet.training.recipe import Recipe
from tests.helpers.interrupted import assert_same_weights, weights
from tests.helpers.tiny import write_tiny_arch

RECIPE = Recipe(optimizer="adamw", lr=0.04, eps=0, schedule="cosine", ema_decay=0.9, dropout=0.3)
STEPS_PER_EPOCH = 4


@pytest.fixture(autouse=True)
def _nobody_asked(monkeypatch):
    monkeypatch.setattr(STOP, "asked", None)


@pytest.fixture
def new_module(tmp_path):
    arch = write_tiny_arch(tmp_path / "arch.json")

    def make():
        torch.manual_seed(0)
        return RetrainModule(arch, num_classes=10, resolution=8, stem_stride=1, recipe=RECIPE)

    return make


def fit(folder, module, *callbacks, ckpt_path=None, epochs=2, **settings):
    folder.mkdir(exist_ok=True)
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=MetricsCsv(folder),
        log_every_n_steps=1,
        max_epochs=epochs,
        limit_train_batches=STEPS_PER_EPOCH,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        callbacks=[
            *run_callbacks(folder),
            *callbacks,
            SeedEachStep(0),
            RunFiles(folder, ""),
            LastCheckpoint(folder),
        ],
        **{"limit_val_batches": 3, **settings},
    )
    data = RunData(Digits(resolution=8, batch_size=16), role="retrain", seed=0)
    trainer.fit(module, data, ckpt_path=ckpt_path)
    return trainer


def last(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt")


def best(folder):
    return torch.load(folder / "checkpoints" / "best.ckpt")


class Ask(pl.Callback):
    """A signal in the middle of a step, or of a batch of the validation after it."""

    def __init__(self, step, batch=None):
        self.step, self.batch = step, batch

    def ask(self, module, batch):
        if module.steps_done == self.step and batch == self.batch:
            STOP.asked = signal.SIGTERM

    def on_train_batch_end(self, trainer, module, *_):
        self.ask(module, None)

    def on_validation_batch_start(self, trainer, module, data, batch, number=0):
        self.ask(module, batch)


class Begun(pl.Callback):
    """Asks to stop by a signal before the first step."""

    def on_train_start(self, trainer, module):
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_before_the_first_step_stops_at_once_and_asks_no_other_rank(
    new_module, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(_SignalConnector, "_sigterm_notifier_fn", lambda *_: asked.append(True))
    with STOP.listening(), pytest.raises(SystemExit) as leaving:
        fit(tmp_path, new_module(), Begun())
    assert isinstance(leaving.value.__context__, Stopped)
    assert not asked


@pytest.mark.parametrize("moment", [(3,), (4,), (6,), (4, 0), (4, 1), (8, 2)])
def test_a_training_that_is_asked_to_stop_continues_to_the_same_bits(new_module, tmp_path, moment):
    whole, module = new_module(), new_module()
    fit(tmp_path / "whole", whole)
    with pytest.raises(SystemExit) as leaving:
        fit(tmp_path / "stopped", new_module(), Ask(*moment))
    assert isinstance(leaving.value.__context__, Stopped)
    assert last(tmp_path / "stopped")["steps_done"] == moment[0]
    STOP.asked = None
    fit(tmp_path / "stopped", module, ckpt_path=tmp_path / "stopped" / "checkpoints" / "last.ckpt")
    assert_same_weights(weights(module), weights(whole))
    for read in (best, last):
        stopped, uninterrupted = read(tmp_path / "stopped"), read(tmp_path / "whole")
        for name in ("state_dict", "current_model_state"):
            assert_same_weights(stopped[name], uninterrupted[name])
        assert stopped["loops"]["fit_loop"] == uninterrupted["loops"]["fit_loop"]
    metrics = [(tmp_path / name / "metrics.csv").read_text() for name in ("stopped", "whole")]
    assert metrics[0] == metrics[1]


def test_a_training_whose_time_is_over_can_be_continued_to_the_same_bits(
    new_module, tmp_path, monkeypatch, capsys
):
    whole, module = new_module(), new_module()
    fit(tmp_path / "whole", whole, accumulate_grad_batches=2)
    step = []
    monkeypatch.setattr(Timer, "time_elapsed", lambda *_: 60.0 * (len(step) > 0))

    class Clock(pl.Callback):
        def on_train_batch_start(self, trainer, module, *_):
            if module.steps_done == 4:  # the fifth batch, and the first half of the third step
                step.append(4)

    time = {"max_time": timedelta(seconds=30), "accumulate_grad_batches": 2}
    fit(tmp_path / "run", new_module(), Clock(), **time)
    assert last(tmp_path / "run")["steps_done"] == 6
    assert best(tmp_path / "run")["global_step"] == 3
    line = "trainer.max_time is over after 3 of 4 steps: go on with --ckpt_path last and a longer"
    assert line in capsys.readouterr().out

    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    monkeypatch.undo()
    time["max_time"] = timedelta(hours=9)
    fit(tmp_path / "run", module, ckpt_path=path, **time)
    assert_same_weights(weights(module), weights(whole))


@pytest.mark.parametrize("never", [{"limit_val_batches": 0}, {"check_val_every_n_epoch": 5}])
def test_a_training_without_validation_leaves_its_last_weights_as_the_best(
    new_module, tmp_path, capsys, never
):
    module = new_module()
    fit(tmp_path, module, **never)
    assert "best.ckpt holds the last ones" in capsys.readouterr().out
    assert_same_weights(best(tmp_path)["state_dict"], weights(module))


def test_a_checkpoint_does_not_pass_through_the_folder_of_temporary_files(
    new_module, tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    fit(tmp_path, new_module(), epochs=1)
    assert best(tmp_path)["steps_done"] == last(tmp_path)["steps_done"] == STEPS_PER_EPOCH
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
    ]
