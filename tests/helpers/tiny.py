"""A space of two blocks, a training of few steps, and a supernet that has not learnt anything."""

import dataclasses

import torch

from supernet.arch_file import write_arch
from supernet.cost.model import CLOSED_FORMS
from supernet.network.supernet import SuperNet
from supernet.space.arch import Arch, BlockChoice
from supernet.space.mnasnet import MnasSpace
from tests.helpers.archs import counted_arch

MACS = CLOSED_FORMS["macs"]
SPACE = MnasSpace(
    base_filters=(8, 16),
    base_layers=(1, 1),
    strides=(1, 2),
    stem=8,
    stem_stride=1,
    head=16,
    resolution=8,
    classes=10,
)
SEARCHED = MnasSpace(
    width=0.1,
    base_filters=(16, 24, 40),
    base_layers=(1, 1, 1),
    strides=(1, 2, 2),
    layers=(0, 1),
    head=32,
    resolution=8,
    classes=10,
    stem_stride=1,
)
"""The space of the tests' tiny searches."""
TRAINING = """
model:
  recipe: {optimizer: adamw, lr: 0.04, eps: 0, schedule: cosine, ema_decay: 0, bn_momentum: 0.1}
data:
  class_path: ClutteredDigits
  init_args: {resolution: 8, batch_size: 16, copies: 1}
trainer: {max_steps: STEPS, max_epochs: -1}
"""
"""A yaml file of a retraining; STEPS is to be replaced."""
SHORT_TRAINING = TRAINING.replace("STEPS", "4").replace("batch_size: 16", "batch_size: 64")
"""One of four steps, which judges in few batches."""
TUNED_OPTIONS = (
    *("--model.sampling.score", "tuned", "--model.schedule.share", "0"),
    *("--model.surrogate.networks", "12", "--model.surrogate.first", "8"),
    *("--model.surrogate.rounds", "2", "--model.surrogate.updates", "2"),
    *("--trainer.max_steps", "44"),
)
"""Options that make a tiny search one by tunings, without shared weights."""


def write_tiny_arch(path, op="mbconv3"):
    """An arch.json of the space, as text, at ``path``."""
    block = BlockChoice(op, 3, 0.25, "none", 1.0, 0)
    write_arch(path, counted_arch(SPACE, Arch((block, block))))
    return str(path)


def save_supernet(path, space=SPACE, **more):
    """A checkpoint of a search; equal spaces give equal weights."""
    torch.manual_seed(0)
    state = {f"supernet.{name}": value for name, value in SuperNet(space).state_dict().items()}
    told = {"space": dataclasses.asdict(space), "seed": 0}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"search": told, "state_dict": state, **more}, path)
    return path
