"""A step of the shared weights: how far it goes, and how often it is taken."""

import pytest
import pytorch_lightning as pl
import torch
from torch.nn.utils import clip_grad_norm_

from search.module import SearchModule
from search.settings import Sampling, Schedule, WeightOptimizer
from search.step import of_those_with_gradients
from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from tests.helpers.tiny import SPACE

# A search has no validation loop of its own.
pytestmark = pytest.mark.filterwarnings("ignore:You passed in a `val_dataloader`")

LR = 0.5


class Watch(pl.Callback):
    """Keeps the shared weights before and after each step, and the gradients that moved them."""

    def __init__(self):
        self.before, self.after, self.rates, self.gradients = [], [], [], []

    def on_train_start(self, trainer, module):
        # Afterwards they are gone.
        trainer.optimizers[0].register_step_post_hook(lambda *_: self.keep_gradient(module))

    def keep_gradient(self, module):
        grads = [p.grad.flatten() for p in module.supernet.parameters() if p.grad is not None]
        self.gradients.append(torch.cat(grads).norm().item())

    def on_train_batch_start(self, trainer, module, *_):
        self.before.append(flat(module.supernet))

    def on_train_batch_end(self, trainer, module, *_):
        self.after.append(flat(module.supernet))
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    @property
    def lengths(self):
        pairs = zip(self.before, self.after, strict=True)
        return [(after - before).norm().item() for before, after in pairs]


def flat(supernet):
    return torch.cat([parameter.detach().flatten() for parameter in supernet.parameters()])


def watched(tmp_path, schedule, steps, name="momentum", **weights):
    """The weight steps of a search; the first is the learning rate times the gradient."""
    torch.manual_seed(0)
    module = SearchModule(
        *(10, 8, 1, SPACE, "p40", "macs"),
        schedule=schedule,
        weights=WeightOptimizer(name=name, lr=LR, lr_batch=16, **weights),
        sampling=Sampling("soft_accuracy", every=2, samples=4),
    )
    watch = Watch()
    trainer = pl.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        logger=False,
        max_steps=steps,
        max_epochs=-1,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[watch],
    )
    trainer.fit(module, RunData(Digits(8, batch_size=16), "search", seed=0))
    return watch


FLAT = Schedule(share=0.5, warmup=0.0, stream=0.0, floor=1.0, ramp=0.0)


def test_a_long_gradient_is_shortened_to_the_norm_that_was_asked_for(tmp_path):
    watch = watched(tmp_path, FLAT, 4, max_grad_norm=1e-3)
    assert watch.gradients == pytest.approx([1e-3] * 4, rel=1e-3)
    assert watch.lengths[0] == pytest.approx(LR * 1e-3, rel=1e-3)


def test_a_short_gradient_is_left_as_it_is(tmp_path):
    watch = watched(tmp_path, FLAT, 4, max_grad_norm=1e3)
    assert 0.1 < watch.gradients[0] < 1e3
    assert watch.lengths[0] == pytest.approx(LR * watch.gradients[0], rel=1e-3)


def test_every_step_has_the_learning_rate_of_its_schedule(tmp_path):
    schedule = Schedule(share=0.5, warmup=0.0, stream=0.0, floor=0.1, ramp=0.5)
    watch = watched(tmp_path, schedule, 8)
    expected = [LR * schedule.learning_rate(min(1.0, step / 4)) for step in range(8)]
    assert watch.rates == pytest.approx(expected)
    assert watch.lengths[0] == 0.0  # the ramp begins at 0
    assert min(watch.lengths[1:]) > 0


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adagrad", "adamw", "rmsproptf"])
def test_an_optimizer_steps_though_each_path_leaves_other_weights_without_gradients(tmp_path, name):
    watch = watched(tmp_path, FLAT, 4, name)
    assert min(watch.lengths) > 0


def test_gradients_are_shortened_as_by_torch():
    torch.manual_seed(0)
    linear = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(linear.parameters(), lr=LR)
    unused = torch.nn.Parameter(torch.ones(2))
    optimizer.add_param_group({"params": [unused]})

    def shortened(shorten):
        linear.zero_grad()
        linear(torch.ones(4, 3)).square().sum().backward()
        return shorten(), *(parameter.grad.clone() for parameter in linear.parameters())

    for limit in (0.5, 100.0):
        weights = WeightOptimizer(max_grad_norm=limit)
        found = shortened(lambda weights=weights: weights.shorten_gradients(optimizer))
        expected = shortened(lambda limit=limit: clip_grad_norm_(linear.parameters(), limit))
        assert all(map(torch.equal, found, expected))


def test_a_step_sees_weights_with_a_gradient_alone_and_an_optimizer_keeps_all():
    used, unused = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = torch.optim.AdamW([used, unused], lr=LR)
    used.grad = torch.ones(2)
    with of_those_with_gradients(optimizer):
        assert optimizer.param_groups[0]["params"] == [used]
    assert optimizer.param_groups[0]["params"] == [used, unused]
