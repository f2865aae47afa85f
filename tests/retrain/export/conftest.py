"""A run that was retrained, for the tests that export it."""

import pytest
import pytorch_lightning as pl
import torch
import yaml

from retrain.cli import run_callbacks
from retrain.module import RetrainModule
from supernet.arch_file import write_arch
from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from supernet.run.callbacks import RunFiles
from supernet.run.checkpoints import LastCheckpoint
from supernet.space.arch import Arch, BlockChoice
from supernet.space.mnasnet import MnasSpace
from supernet.training.recipe import Recipe
from tests.helpers.archs import counted_arch

RECIPE = Recipe(
    optimizer="adamw", lr=0.04, eps=0, schedule="cosine", ema_decay=0.9, bn_momentum=0.1
)


@pytest.fixture(scope="package")
def trained(tmp_path_factory):
    """A run folder as ``retrain fit`` leaves it, of a network with squeeze-and-excitation."""
    run = tmp_path_factory.mktemp("run")
    space = MnasSpace(
        base_filters=(8, 16),
        base_layers=(1, 2),
        strides=(1, 2),
        stem=8,
        stem_stride=1,
        head=16,
        resolution=8,
        classes=10,
    )
    blocks = (
        BlockChoice("sepconv", 5, 0.25, "pool", 1.0, 0),
        BlockChoice("mbconv3", 3, 0.25, "identity", 1.0, 0),
    )
    found = counted_arch(space, Arch(blocks))
    write_arch(run / "arch.json", found)
    data = {
        "class_path": "supernet.data.digits.Digits",
        "init_args": {"resolution": 8, "batch_size": 32},
    }
    config = {"data": data, "wandb": {"mode": "disabled"}}
    torch.manual_seed(0)  # whatever has run before
    module = RetrainModule(str(run / "arch.json"), 10, 8, 1, RECIPE)
    last = LastCheckpoint(run)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        max_epochs=2,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[RunFiles(run, yaml.safe_dump(config)), *run_callbacks(run), last],
    )
    trainer.fit(module, RunData(Digits(resolution=8, batch_size=32), "retrain", seed=0))
    return run


@pytest.fixture
def run(trained, tmp_path):
    """The trained run's files in a folder of the test's own."""
    for source in ("config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        (tmp_path / source).parent.mkdir(exist_ok=True)
        (tmp_path / source).symlink_to(trained / source)
    return tmp_path
