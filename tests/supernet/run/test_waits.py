"""No step waits for its device outside logging intervals, in a search and in a retraining."""

import contextlib
import random

import pytest
import pytorch_lightning as pl
import torch

from search.evaluation.frozen_supernet import tune
from search.settings import WeightOptimizer
from supernet.network.network import Network
from supernet.run import finite
from supernet.run.cli import CLI
from tests.helpers.tiny import SPACE, TRAINING, write_tiny_arch
from tests.helpers.waits import READS, Reads

EVERY = 5
"""Steps of a logging interval."""


@pytest.fixture
def given(monkeypatch):
    """Add a callback to what a command trains with."""

    def give(callback):
        make = CLI.make_trainer

        def made(command, callbacks, **settings):
            return make(command, callbacks=[callback, *callbacks], **settings)

        monkeypatch.setattr(CLI, "make_trainer", made)

    return give


def search_of(search, tiny_search, *more):
    """20 steps of warm-up and uniform paths, an update of the controller, and 9 of its paths."""
    steps = ["--model.schedule.share=.66", "--model.sampling.every=20", "--trainer.max_steps=30"]
    steps += [f"--trainer.log_every_n_steps={EVERY}", "--checkpoint_every_s=3600"]
    final = ["--model.final.samples=1", "--model.final.candidates=1", "--model.sampling.samples=2"]
    search(*tiny_search, *steps, *final, *more)


def search_is_due(step):
    """Whether a step is logged or an update, after which all paths are proposed at once."""
    return step % EVERY in (0, EVERY - 1) or step in (20, 21)


def retraining_of(tmp_path, *more):
    from retrain.__main__ import main

    config, arch = tmp_path / "training.yaml", write_tiny_arch(tmp_path / "arch.json")
    settings = TRAINING.replace("STEPS", "22").replace("ema_decay: 0,", "ema_decay: 0.9,")
    config.write_text(settings)
    options = ["fit", "-c", config, "--run", tmp_path / "run", "--model.arch", arch]
    options += ["--wandb.mode=disabled", "--checkpoint_every_s=3600", "--model.patience=0"]
    main([*map(str, options), f"--trainer.log_every_n_steps={EVERY}", *more])


def assert_quiet(places, due):
    """No read in a step that is not ``due``, and some in those that are: they are counted."""
    assert {step: found for step, found in places.items() if not due(step)} == {}
    assert any(due(step) for step in places)


def test_reads_are_counted():
    reads = Reads()
    reads._step = 3
    with reads.counted():
        one = torch.ones(1)
        _ = one.item(), float(one), one.tolist(), one.cpu()
    _ = one.item()
    assert [place.split()[0] for place in reads.places[3]] == ["item", "__float__", "tolist", "cpu"]
    assert len(READS) == 4


def test_a_search_reads_nothing_between_logging_intervals(search, tiny_search, given, monkeypatch):
    monkeypatch.setattr(finite, "_waits", lambda _: True)  # as on a GPU
    reads = Reads()
    given(reads)
    with reads.counted():
        search_of(search, tiny_search, "--trainer.accelerator=cpu")
    assert_quiet(reads.places, search_is_due)


def test_a_retraining_reads_nothing_between_logging_intervals(tmp_path, given, monkeypatch):
    monkeypatch.setattr(finite, "_waits", lambda _: True)
    reads = Reads()
    given(reads)
    with reads.counted():
        retraining_of(tmp_path, "--trainer.accelerator=cpu")
    assert_quiet(reads.places, lambda step: step % EVERY in (0, EVERY - 1) or step == 21)


def test_a_tuning_reads_its_course_once_after_its_last_step():
    spec = SPACE.spec(SPACE.sample(random.Random(0)))
    batch = torch.randn(4, 3, 8, 8), torch.arange(4)
    reads = Reads()
    reads._step = 0
    with reads.counted():
        tune(Network(spec), [batch] * 3, WeightOptimizer(), 3)
    assert [place.split()[0] for place in reads.places[0]] == ["cpu", "cpu"]


# --- a GPU ----------------------------------------------------------------------------------------


class NoWaits(pl.Callback):
    """Has torch refuse every wait of a step that is not due."""

    def __init__(self, due):
        self.due = due

    def on_train_batch_start(self, trainer, pl_module, *_):
        mode = "default" if self.due(trainer.global_step) else "error"
        torch.cuda.set_sync_debug_mode(mode)

    def on_train_end(self, *_):
        torch.cuda.set_sync_debug_mode("default")


@contextlib.contextmanager
def sync_debug():
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_search_on_a_gpu_waits_for_nothing_between_logging_intervals(search, tiny_search, given):
    given(NoWaits(lambda step: step < 2 or search_is_due(step)))
    with sync_debug():
        search_of(search, tiny_search, "--trainer.accelerator=gpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_retraining_on_a_gpu_waits_for_nothing_between_logging_intervals(tmp_path, given):
    given(NoWaits(lambda step: step < 2 or step % EVERY in (0, EVERY - 1) or step == 21))
    with sync_debug():
        retraining_of(tmp_path, "--trainer.accelerator=gpu")
