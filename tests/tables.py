"""Spaces to be priced, and latency tables that nothing was measured for."""

import random

from supernet.latency.table import Calibration, HeldOut, LatencyTable
from supernet.parts import space_parts
from supernet.space import MnasSpace

TINY = MnasSpace(
    ops=("conv", "mbconv3"), kernels=(3, 5), ses=(0.0,), skips=("none", "identity", "pool"),
    filters=(0.75, 1.25), layers=(0, 1), base_filters=(16, 32), base_layers=(1, 2),
    strides=(1, 2), resolution=16, stem_stride=1, stem=16, head=32, classes=10,
)  # fmt: skip
DIGITS = MnasSpace(width=0.35, resolution=16, classes=10, stem_stride=1, head=256)


def random_table(space, seed, machine=None):
    """A table whose times follow nothing but chance, so that no order of choices is a hint."""
    rng = random.Random(seed)
    entries = {part.key: (1.0, rng.uniform(0.1, 1.0)) for part in space_parts(space)}
    fingerprint = machine or {"cpu": "none", "onnxruntime": "0", "threads": 1}
    held_out = HeldOut(10, 0.0, 1.0, 1.0, 0.0, 0.0)
    return LatencyTable(fingerprint, entries, Calibration(0.0, 1.0, 0.0), held_out)
