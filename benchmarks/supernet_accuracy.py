"""How accurate are random networks of the whole space, with the weights of a search?

``python -m benchmarks.supernet_accuracy runs/digits-search`` judges 50 uniformly drawn
architectures (fixed seed) at the end of uniform sampling: extracted, batch norms recalibrated on
the images that trained the weights, scored on the images that the search held out (validation).
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import yaml

from benchmarks.record import machine, record
from supernet.command.process import keep_freed_memory, remember_kernels
from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from supernet.data.splits import Batch
from supernet.network.network import recalibrate
from supernet.network.supernet import load_supernet
from supernet.training.standalone import evaluate


def laid_out(batches: Iterable[Batch]) -> list[Batch]:
    """Batches with images in channels_last."""
    return [(x.contiguous(memory_format=torch.channels_last), y) for x, y in batches]


def main() -> None:
    """Print mean, 5 % quantile and extremes, and record them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a search on digits")
    parser.add_argument("--checkpoint", default="uniform", choices=["uniform", "last"])
    parser.add_argument("--archs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=12345)
    parser.add_argument("--note", default="")
    args = parser.parse_args()
    keep_freed_memory()
    remember_kernels()
    torch.set_num_threads(1)
    config = yaml.safe_load((args.run / "config.yaml").read_text())
    path = args.run / "checkpoints" / f"{args.checkpoint}.ckpt"
    supernet = load_supernet(path).to(memory_format=torch.channels_last)
    data = RunData(Digits(**config["data"]["init_args"]), "search", config["seed_everything"])
    weights = [images for images, _ in laid_out(data.weights_batches(2048))]
    held_out = laid_out(data.val_batches())
    rng, accuracies = random.Random(args.seed), []
    for _ in range(args.archs):
        network = supernet.extract(supernet.space.sample(rng))
        recalibrate(network.to(memory_format=torch.channels_last), weights)
        accuracies.append(evaluate(network, held_out).accuracy)
    state = torch.load(path, weights_only=True)["search"]
    result = {
        "steps": state["steps_done"],
        "mean": float(np.mean(accuracies)),
        "q05": float(np.quantile(accuracies, 0.05)),
        "min": min(accuracies),
        "max": max(accuracies),
        "note": args.note,
    }
    print(f"# {machine()}")
    print(f"# {args.archs} random architectures, {len(held_out)} held-out batches, {path}")
    print("steps  mean   5 %    min    max")
    row = (result[name] for name in ("mean", "q05", "min", "max"))
    print(f"{result['steps']:<6}" + " ".join(f"{value:.3f} " for value in row))
    record(
        "supernet_accuracy",
        {"model": config["model"], "max_steps": config["trainer"]["max_steps"]},
        config["seed_everything"],
        result,
    )


if __name__ == "__main__":
    main()
