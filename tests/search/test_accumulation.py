"""Gradients of several batches in one weight step, each of a path of its own."""

import copy
import sys

import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional

from search.__main__ import main
from search.module import SearchModule
from search.monitoring.health import Health, uniform_uses
from search.paths import StepPaths
from search.settings import Sampling, Schedule, WeightOptimizer
from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from supernet.errors import UserError
from tests.helpers.interrupted import lines, state_hash
from tests.helpers.tiny import SPACE

# A search has no validation loop of its own.
pytestmark = pytest.mark.filterwarnings("ignore:You passed in a `val_dataloader`")
BATCHES, ACCUMULATED = 5, 2


class Due(Health):
    """Keeps the uses of ops that its alarms hear are due."""

    def setup(self, trainer, module, stage):
        super().setup(trainer, module, stage)
        self.due, told = [], self.alarms.of_uses
        self.alarms.of_uses = lambda uses, due: self.due.append(due) or told(uses, due)


class Watch(pl.Callback):
    """Keeps the shared weights and batches of each step, and the gradients that it took."""

    def __init__(self):
        self.supernets, self.batches, self.plans, self.gradients, self.rates = [], [], [], [], []

    def on_train_start(self, trainer, module):
        trainer.optimizers[0].register_step_pre_hook(lambda *_: self.keep(trainer, module))

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if batch_idx % ACCUMULATED == 0:
            self.supernets.append(copy.deepcopy(module.supernet))
            self.plans.append(module.plan())
            self.batches.append([])
        self.batches[-1].append([one.clone() for one in batch])

    def keep(self, trainer, module):
        self.gradients.append(gradient(module.supernet))
        self.rates.append(trainer.optimizers[0].param_groups[0]["largest_lr"])


def gradient(supernet):
    """Of all weights as one vector, 0 where there is none."""
    weights = supernet.parameters()
    return torch.cat([(w * 0 if w.grad is None else w.grad).detach().flatten() for w in weights])


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Two epochs of five batches: two steps of two batches, and one of the last, in each."""
    torch.manual_seed(0)
    module = SearchModule(
        *(10, 8, 1, SPACE, "p40", "macs"),
        schedule=Schedule(share=0.5, warmup=0.5, ramp=0.0),
        weights=WeightOptimizer(lr_batch=32, max_grad_norm=1e6),
        sampling=Sampling("soft_accuracy", every=2, samples=4),
    )
    watch, due = Watch(), Due()
    trainer = pl.Trainer(
        default_root_dir=tmp_path_factory.mktemp("accumulation"),
        accelerator="cpu",
        logger=False,
        max_epochs=2,
        limit_train_batches=BATCHES,
        limit_val_batches=0,
        accumulate_grad_batches=ACCUMULATED,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[watch, due],
        log_every_n_steps=1,
    )
    trainer.fit(module, RunData(Digits(8, batch_size=16), "search", seed=0))
    module.due = due.due
    return module, watch


def test_a_step_ends_after_its_batches_and_with_the_epoch(watched):
    module, watch = watched
    assert [len(found) for found in watch.batches] == [2, 2, 1] * 2
    assert (module.steps_done, module.total_steps, module.batches_done) == (6, 6, 2 * BATCHES)
    assert watch.rates == [module.weights.lr] * 6  # for 32 images


def test_uses_of_ops_are_due_for_every_batch(watched):
    module, _ = watched
    each = uniform_uses(SPACE)
    assert module.due == [{op: paths * each[op] for op in each} for paths in (2, 4, 5)]


def test_a_step_takes_the_mean_gradient_of_its_paths(watched):
    _, watch = watched
    steps = zip(watch.supernets, watch.plans, watch.batches, watch.gradients, strict=True)
    for supernet, plan, batches, taken in steps:
        assert len(plan.own) == len(batches)
        for path, (images, labels) in zip(plan.own, batches, strict=True):
            images = images.contiguous(memory_format=torch.channels_last)
            logits = supernet(images, path, plan.stream)
            (functional.cross_entropy(logits, labels) / len(batches)).backward()
        torch.testing.assert_close(taken, gradient(supernet), rtol=1e-4, atol=1e-6)


def test_accumulated_batches_train_the_paths_of_as_many_ranks(watched):
    module, watch = watched
    ranks = [StepPaths(SPACE, module.controller, 2, 0, rank, ACCUMULATED) for rank in (0, 1)]
    for plan in watch.plans[:2]:
        paths = ranks[0].uniform(plan.number, plan.warmup)
        assert plan.own == plan.paths == paths == ranks[1].uniform(plan.number, plan.warmup)
    assert len({repr(path) for plan in watch.plans for path in plan.own}) > 6


def test_two_ranks_have_the_paths_of_two_batches_in_their_order():
    paths = [StepPaths(SPACE, None, 2, 0, rank, 2, 2) for rank in (0, 1)]
    assert [list(one.mine) for one in paths] == [[0, 2], [1, 3]]


@pytest.mark.slow
def test_a_search_that_accumulates_and_is_stopped_is_the_search_that_was_not(
    tiny_search, tmp_path, monkeypatch
):
    more = ["--trainer.accumulate_grad_batches", "3", "--checkpoint_every_s", "0"]
    arguments = ["search", "fit", *tiny_search, *more, "--trainer.limit_train_batches", "7"]
    train = SearchModule.training_step

    def run(*more, stop=None):
        def stopping(module, *batch):
            if module.batches_done == stop:
                raise UserError("stopped here")
            return train(module, *batch)

        monkeypatch.setattr(SearchModule, "training_step", stopping)
        monkeypatch.setattr(sys, "argv", [*arguments, *more])
        main()

    for options, stop in (((), 19), (("--ckpt_path", "last"), 52)):
        with pytest.raises(SystemExit):
            run(*options, stop=stop)
    run("--ckpt_path", "last")
    run("--run", str(tmp_path / "whole"))
    assert state_hash(tmp_path / "run") == state_hash(tmp_path / "whole")
    for name in ("metrics.csv", "samples.csv"):
        assert lines(tmp_path / "run" / name) == lines(tmp_path / "whole" / name)
