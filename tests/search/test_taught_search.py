"""A search with a teacher: whose answers its images have, and that it goes on as it began."""

import numpy as np
import pytest
import pytorch_lightning as pl
import timm
import torch
from torch.nn import functional

from search.loss import SearchLoss
from search.module import SearchModule
from search.settings import Sampling, Schedule
from search.surrogate.tuner import Tuner
from supernet.command.process import run_command
from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.run.callbacks import SeedEachStep
from supernet.run.checkpoints import LastCheckpoint
from supernet.training import soft_labels as kept
from tests.helpers.interrupted import Kill, assert_same_weights, lines, state_hash, weights
from tests.helpers.tiny import SPACE

CPU = torch.device("cpu")

FEW = (
    *("--model.surrogate.networks", "4", "--model.surrogate.rounds", "1"),
    *("--model.final.candidates", "1", "--trainer.max_steps", "15"),
)
"""Options with which a search of seconds is one of fewer."""


class Undealt(pl.LightningDataModule):
    """Digits without a part for rewards."""

    num_classes, resolution = 10, 8

    def __init__(self):
        super().__init__()
        self.inner = Digits(resolution=8, batch_size=16)
        self.train_dataloader = self.inner.train_dataloader
        self.val_dataloader = self.inner.val_dataloader
        self.plain_train_dataloader = self.inner.plain_train_dataloader


@pytest.fixture
def teacher(tmp_path, monkeypatch):
    """A teacher that answers with the sum of an image's pixels, and knows its label."""

    def answers(_, __, data, ___):
        batches = list(data.plain_training_images())
        sums = torch.cat([images.sum((1, 2, 3)) for images, _ in batches])
        labels = torch.cat([labels for _, labels in batches])
        return sums[:, None] / 100 + 4 * functional.one_hot(labels, 10)

    monkeypatch.setenv("MNASNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "_asked", answers)
    monkeypatch.setattr(kept.TeacherSource, "load", lambda *_: None)
    return write_teacher(tmp_path / "teacher.pth")


def write_teacher(path):
    torch.save(timm.create_model("test_efficientnet", num_classes=10).state_dict(), path)
    return f"test_efficientnet:{path}"


@pytest.mark.parametrize("inner", [lambda: Digits(resolution=8, batch_size=16), Undealt])
def test_each_image_of_a_search_has_its_own_answer(teacher, inner):
    data = RunData(inner(), "search", seed=3)
    SearchLoss(teacher=teacher).prepare(data, CPU)
    parts = zip(*data.weights_batches(256), strict=True)
    images, labels, answers = map(torch.cat, parts)
    assert torch.equal(answers.argmax(1), labels)
    # A digit that is moved a little keeps most of its ink.
    ink, told = images.sum((1, 2, 3)).numpy(), answers.min(1).values.numpy()
    assert np.corrcoef(ink, told)[0, 1] > 0.7
    assert all(len(batch) == 2 for batch in data.val_batches())
    assert len(data.reward_batch(0, 0)) == 2


def test_a_datamodule_without_plain_images_is_refused(teacher):
    class Bare(Undealt):
        def __init__(self):
            super().__init__()
            del self.plain_train_dataloader

    data = RunData(Bare(), "search", seed=0)
    with pytest.raises(UserError, match=r"Bare lacks plain_train_dataloader\(\), which gives"):
        SearchLoss(teacher=teacher).prepare(data, CPU)


def fit(folder, teacher, *callbacks, checkpoint=None):
    """Eight weight steps of a search by slices."""
    torch.manual_seed(0)
    module = SearchModule(
        *(10, 8, 1, SPACE, "p40", "macs"),
        schedule=Schedule(share=0.5),
        sampling=Sampling("soft_accuracy", every=2, samples=4),
        teacher=teacher,
    )
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        max_steps=8,
        max_epochs=-1,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[*callbacks, SeedEachStep(0), LastCheckpoint(folder, interval_s=0.0)],
    )
    trainer.fit(module, RunData(Digits(8, batch_size=16), "search", seed=0), ckpt_path=checkpoint)
    return weights(module)


@pytest.mark.filterwarnings("ignore:You passed in a `val_dataloader`")
def test_weight_steps_that_were_killed_go_on_to_the_same_bits_and_with_their_teacher_alone(
    teacher, tmp_path
):
    whole, without = fit(tmp_path / "whole", teacher), fit(tmp_path / "without", "")
    with pytest.raises(RuntimeError, match="killed"):
        fit(tmp_path, teacher, Kill(3))
    last = tmp_path / "checkpoints" / "last.ckpt"
    with pytest.raises(UserError, match=r"teacher is test_eff.* search's is none"):
        fit(tmp_path, "", checkpoint=last)
    went_on = fit(tmp_path, teacher, checkpoint=last)
    assert_same_weights(went_on, whole)
    with pytest.raises(AssertionError):
        assert_same_weights(without, whole)


@pytest.mark.slow
def test_a_taught_search_stopped_in_its_tunings_ends_as_one_that_was_not(
    search, tuned_search, tmp_path, monkeypatch, teacher
):
    tune, run, whole = Tuner.tune, tmp_path / "run", tmp_path / "whole"
    options = [*tuned_search, *FEW, "--model.teacher", teacher]

    def stopping(tunings, *job):
        if len(lines(run / "tunings-rank0.jsonl")) == 3:
            raise UserError("stopped here")
        return tune(tunings, *job)

    monkeypatch.setattr(Tuner, "tune", stopping)
    with pytest.raises(SystemExit):
        run_command(lambda: search(*options))
    monkeypatch.setattr(Tuner, "tune", tune)
    search(*options, "--ckpt_path", "last")
    search(*options, "--run", whole)
    for name in ("arch.json", "surrogate.json", "samples.csv", "metrics.csv"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    assert state_hash(run) == state_hash(whole)
