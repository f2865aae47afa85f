"""Spaces to be priced, and latency tables that nothing was measured for."""

import random

from supernet.cost.timed_layers import timed_layers_of_space
from supernet.latency.table.correction import Correction, Times
from supernet.latency.table.table import LatencyTable
from supernet.latency.table.validation import Accuracy, Noise, Validation
from supernet.space.mnasnet import MnasSpace

TINY = MnasSpace(
    ops=("conv", "mbconv3"),
    kernels=(3, 5),
    ses=(0.0,),
    skips=("none", "identity", "pool"),
    filters=(0.75, 1.25),
    layers=(0, 1),
    base_filters=(16, 32),
    base_layers=(1, 2),
    strides=(1, 2),
    resolution=16,
    stem_stride=1,
    stem=16,
    head=32,
    classes=10,
)
DIGITS = MnasSpace(width=0.35, resolution=16, classes=10, stem_stride=1, head=256)


def random_table(space, seed, machine=None):
    """A table whose times follow nothing but chance, so that no order of choices is a hint."""
    rng = random.Random(seed)
    entries = {part.key: Times(1.0, rng.uniform(0.1, 1.0)) for part in timed_layers_of_space(space)}
    return plain_table(entries, machine or NOWHERE)


NOWHERE = {
    "backend": "none",
    "device": "none",
    "runtime": "none",
    "threads": 1,
    "precision": "fp32",
    "clock": "cpu",
}


def plain_table(entries, machine, mape=0.0):
    """A table that adds up the later times of ``entries``."""
    predicted = Accuracy(mape, 1.0, 1.0, 1.0, 0.0)
    validation = Validation(16, 4, 4, predicted, Noise(0.0, 1.0, 1.0, 1.0))
    return LatencyTable(
        machine, entries, Correction("scale", 0.0, {"later": 1.0}, {}), validation, 1.0
    )
