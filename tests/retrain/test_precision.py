"""Half precision trains as full precision does, within what its digits leave open."""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import MixedPrecision

from retrain.module import RetrainModule
from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from supernet.run.callbacks import SeedEachStep
from supernet.run.finite import FiniteGuard
from supernet.training.recipe import Recipe
from tests.helpers.tiny import write_tiny_arch

STEPS = 24
TOLERANCE = {"bf16-mixed": 0.02, "16-mixed": 0.02}
"""Largest difference of a step's loss from that of full precision, as a share of it."""


class Losses(pl.Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, outputs, *_):
        self.seen.append(float(outputs["loss"]))


def losses(folder, precision, recipe):
    """Losses (S,) of a short training with shortened gradients."""
    torch.manual_seed(0)
    module = RetrainModule(write_tiny_arch(folder / "arch.json"), 10, 8, 1, recipe)
    # Only a GPU takes 16-mixed by its name; what it does to losses and gradients is the same.
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    fp16 = {"plugins": MixedPrecision("16-mixed", "cpu", scaler)}
    seen = Losses()
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_steps=STEPS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        gradient_clip_val=0.5,
        callbacks=[FiniteGuard(), seen, SeedEachStep(0)],
        **(fp16 if precision == "16-mixed" else {"precision": precision}),
    )
    trainer.fit(module, RunData(Digits(resolution=8, batch_size=16), "retrain", 0))
    assert all(one.dtype == torch.float32 for one in module.parameters())
    return torch.tensor(seen.seen)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(optimizer="adamw", lr=0.04, eps=0, schedule="cosine", bn_momentum=0.1),
        Recipe(lr=0.016, bn_momentum=0.1),
    ],
    ids=["adamw", "rmsproptf"],
)
@pytest.mark.filterwarnings("ignore:You passed in a `val_dataloader`")
def test_losses_of_half_precision_are_those_of_full(tmp_path, recipe):
    full = losses(tmp_path, "32-true", recipe)
    assert full.shape == (STEPS,)
    assert full[-4:].mean() < full[:4].mean()
    for precision, tolerance in TOLERANCE.items():
        half = losses(tmp_path, precision, recipe)
        assert not torch.equal(half, full)
        assert float((half / full - 1).abs().max()) < tolerance
