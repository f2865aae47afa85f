"""Latency tables that nothing was measured for."""

import random

from supernet.parts import space_parts
from supernet.table import Calibration, HeldOut, LatencyTable


def random_table(space, seed, machine=None):
    """A table whose times follow nothing but chance, so that no order of choices is a hint."""
    rng = random.Random(seed)
    entries = {part.key: (1.0, rng.uniform(0.1, 1.0)) for part in space_parts(space)}
    fingerprint = machine or {"cpu": "none", "onnxruntime": "0", "threads": 1}
    held_out = HeldOut(10, 0.0, 1.0, 1.0, 0.0, 0.0)
    return LatencyTable(fingerprint, entries, Calibration(0.0, 1.0, 0.0), held_out)
