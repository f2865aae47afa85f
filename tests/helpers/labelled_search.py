"""A finished search in few files, for what fits a surrogate to its labels."""

import json
from itertools import islice

import numpy as np

from supernet.arch_file import write_arch
from supernet.cost.counts import count
from tests.helpers.archs import counted_arch
from tests.helpers.surrogate_file import content
from tests.helpers.tiny import SEARCHED

TARGET = "1.4e5"
"""Multiply-adds that some 40 % of the space's networks do not exceed."""


def write_search(folder, gain):
    """A finished search in whose labels twice the multiply-adds take ``gain`` nats off the loss."""
    folder.mkdir()
    archs = list(islice(SEARCHED.samples(1), 60))
    costs = np.log2([count(SEARCHED.spec(arch)).macs for arch in archs])
    known = content()
    known["labels"] = [
        {**known["labels"][0], "arch": SEARCHED.encode(arch), "loss": 2.4 - gain * cost}
        for arch, cost in zip(archs, (costs - costs.mean()).tolist(), strict=True)
    ]
    (folder / "surrogate.json").write_text(json.dumps(known))
    model = {"cost": "macs", "controller": {"kind": "tunas"}, "sampling": {"samples": 20}}
    (folder / "config.yaml").write_text(json.dumps({"model": model}))
    write_arch(folder / "arch-p20.json", counted_arch(SEARCHED, archs[0]))
    return folder
