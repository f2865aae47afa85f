"""Invented tables of trained networks, in the columns of the public ones."""

import csv
import itertools
import random

import numpy as np

from search.truth.tables import ACCEL_SPACE, OPS, macro_stages
from supernet.cost.counts import count
from supernet.space.spec import NetSpec

SE, WIDE = 2.0, 0.5
"""Points of each block with squeeze-and-excitation, and of each in expansion 6."""
EXPANSIONS = {op: expansion for expansion, op in OPS.items()}
OPERATIONS = [f"op{number}" for number in range(1, 9)]


def worth(arch):
    """Top-1 of an invented truth that adds up."""
    return 50 + sum(SE * (one.se > 0) + WIDE * (one.op == "mbconv6") for one in arch.blocks)


def write_csv(path, rows):
    """A csv file of dictionaries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_accel(folder, num=400):
    """Networks in the columns of Accel-NASBench's files; the path of networks.csv."""
    rng, rows = random.Random(0), []
    for _ in range(num):
        arch = ACCEL_SPACE.sample(rng)
        row = {"top1": worth(arch), "params_m": count(ACCEL_SPACE.spec(arch)).params / 1e6}
        for block, one in enumerate(arch.blocks, 1):
            row |= {f"e{block}": EXPANSIONS[one.op], f"k{block}": one.kernel}
            row |= {f"l{block}": one.layers + 2, f"se{block}": int(one.se > 0)}
        rows.append(row)
    luck = np.random.default_rng(0).normal(scale=0.3, size=(40, 3)).tolist()
    names = [f"short_top1_s{seed}" for seed in (1, 2, 3)]
    repeated = [
        row | {name: row["top1"] + one for name, one in zip(names, own, strict=True)}
        for row, own in zip(rows, luck, strict=False)
    ]
    write_csv(folder / "seeds.csv", repeated)
    return write_csv(folder / "networks.csv", rows)


def macro_row(ops, seed=0):
    """A row of NAS-Bench-Macro: accuracies grow with the ops and differ by seeds."""
    stages = (ops[:2], ops[2:5], ops[5:])
    kept = [[stage[0], *(op for op in stage[1:] if op)] for stage in stages]
    level = 80 + sum(map(sum, kept)) * 0.5
    luck = np.random.default_rng([seed, *itertools.chain.from_iterable(kept)]).normal(size=3) * 0.2
    accuracies = dict(zip(("acc_s1", "acc_s2", "acc_s3"), level + luck, strict=True))
    return dict(zip(OPERATIONS, ops, strict=True)) | accuracies


def with_counts(rows):
    """Rows of NAS-Bench-Macro with the parameters and MACs that ``supernet.cost`` counts."""
    for row in rows:
        stages = macro_stages([str(row[op]) for op in OPERATIONS])
        cost = count(NetSpec(32, 1, stages, 1280, 10, 32))
        yield row | {"params": cost.params, "macs": cost.macs}


def write_macro(folder):
    """All 6,561 rows in the columns of NAS-Bench-Macro's file; its path."""
    rows = [macro_row(ops) for ops in itertools.product(range(3), repeat=8)]
    return write_csv(folder / "networks.csv", list(with_counts(rows)))
