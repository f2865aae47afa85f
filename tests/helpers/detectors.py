"""Small detectors on searched networks, and what trains them."""

import random

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from retrain.detect.digit_boxes import DigitBoxes
from retrain.detect.module import DetectionModule
from retrain.detect.ssdlite import SSDLite
from supernet.arch_file import write_arch
from supernet.data.run_data import RunData
from supernet.run.callbacks import SeedEachStep
from supernet.space.mnasnet import MnasSpace
from supernet.training.recipe import Recipe
from tests.helpers.archs import counted_arch

QUICK = Recipe(
    optimizer="adamw",
    lr=0.08,
    eps=0,
    schedule="cosine",
    ema_decay=0.9,
    bn_momentum=0.1,
    dropout=0,
    label_smoothing=0,
)

SMALL = SSDLite((8, 16), (16,), (0.2, 0.6))


def write_searched_arch(path, seed=0, **settings):
    space = MnasSpace(resolution=16, classes=10, stem_stride=1, **settings)
    arch = space.sample(random.Random(seed))
    write_arch(path, counted_arch(space, arch))
    return str(path)


def module_for(arch, ssdlite=SMALL, recipe=QUICK, init="scratch"):
    return DetectionModule(arch, 10, 64, 2, ssdlite, recipe, init)


def trainer_for(folder, *callbacks, max_epochs=2, **settings):
    keeps = any(isinstance(one, Checkpoint) for one in callbacks)
    return pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        max_epochs=max_epochs,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[*callbacks, SeedEachStep(0)],
        enable_checkpointing=keeps,
        **settings,
    )


def boxes(**changes):
    settings = {
        "resolution": 64,
        "batch_size": 4,
        "train_images": 16,
        "val_images": 6,
        "test_images": 7,
        **changes,
    }
    return RunData(DigitBoxes(**settings), role="retrain", seed=0)
