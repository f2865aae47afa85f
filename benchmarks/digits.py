"""Found against random networks of the same latency, on digits, retrained from scratch.

``python -m benchmarks.digits`` searches once for each of three stratified splits, so that no
search has seen a test image of its split. On each it retrains the found network and eight uniform
random ones whose predicted latency lies within 10 % of the found one's, all by
configs/digits/retrain.yaml, and tests them. It can be stopped and run again: finished trainings
are in benchmarks/results/digits.jsonl and are not repeated.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import yaml
from scipy import stats

from benchmarks.record import RESULTS, print_head, record
from supernet.arch_file import ArchFile, read_arch, write_arch
from supernet.latency.table.table import LatencyTable

SEARCH, RETRAIN = Path("configs/digits/search.yaml"), Path("configs/digits/retrain.yaml")
BAND = 0.1
"""Largest distance of a random network's predicted latency from the found one's, as a share."""


def run(module: str, *arguments: object) -> None:
    """Run one of the project's commands and stop on its failure."""
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True)


def search(folder: Path, split: int, options: Sequence[str]) -> ArchFile:
    """The network that a search on one split found; continues a search that was stopped."""
    if not (folder / "arch.json").exists():
        going = ["--ckpt_path", "last"] if (folder / "config.yaml").exists() else []
        splits = ["--data.split_seed", split, "--seed_everything", split]
        run("search", "fit", "-c", SEARCH, "--run", folder, *splits, *options, *going)
    return read_arch(folder / "arch.json")


def random_neighbours(found: ArchFile, table: LatencyTable, num: int) -> list[ArchFile]:
    """Uniform random networks within the band around the found one's predicted latency."""
    rng = random.Random(found.seed)
    neighbours: list[ArchFile] = []
    while len(neighbours) < num:
        arch = found.space.sample(rng)
        predicted = table.predict(found.space.spec(arch))
        if abs(predicted / found.predicted - 1) <= BAND:
            # The supernet was not asked for their accuracy and reward, nor the device for a time.
            neighbours.append(
                dataclasses.replace(
                    found, arch=arch, predicted=predicted, accuracy=0.0, reward=0.0, measured=None
                )
            )
    return neighbours


def train(folder: Path, arch: ArchFile, split: int, options: Sequence[str]) -> float:
    """Test accuracy of one network trained from scratch on one split."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "arch.json"
    write_arch(path, arch)
    shared = ["-c", RETRAIN, "--run", folder, "--model.arch", path, "--data.split_seed", split]
    shared += ["--seed_everything", split, "--wandb.mode", "disabled", *options]
    going = ["--ckpt_path", "last"] if (folder / "checkpoints/last.ckpt").exists() else []
    run("retrain", "fit", *shared, *going)
    run("retrain", "test", *shared)
    return json.loads((folder / "test.json").read_text())["accuracy"]


def done() -> dict[tuple[str, int, str], dict]:
    """Recorded trainings by their recipe, split and network."""
    path = RESULTS / "digits.jsonl"
    rows = map(json.loads, path.read_text().splitlines()) if path.exists() else []
    return {(row["recipe"], row["seed"], row["network"]): row for row in rows}


def main() -> None:
    """Search, train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--random", type=int, default=8, help="random networks on each split")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark-digits"))
    # One string, since argparse takes words that begin with -- for options of its own.
    for name in ("search", "retrain"):
        parser.add_argument(
            f"--{name}-options", type=shlex.split, default=[], help="such as '--x 1 --y 2'"
        )
    args = parser.parse_args()
    recipe = yaml.safe_load(RETRAIN.read_text())
    name = json.dumps([recipe["model"], recipe["trainer"], args.retrain_options], sort_keys=True)
    with ThreadPoolExecutor(args.jobs) as pool:
        splits = range(args.splits)
        folders = [args.folder / f"search-{split}" for split in splits]
        searches = pool.map(lambda s: search(folders[s], s, args.search_options), splits)
        jobs = []
        for split, found in zip(splits, searches, strict=True):
            table = LatencyTable.read(table_path(found.table))
            networks = {"found": found}
            for number, arch in enumerate(random_neighbours(found, table, args.random)):
                networks[f"random {number}"] = arch
            for network, arch in networks.items():
                if (name, split, network) not in done():
                    jobs.append((split, network, arch))

        def job(split: int, network: str, arch: ArchFile) -> None:
            folder = args.folder / f"split-{split}" / network.replace(" ", "-")
            accuracy = train(folder, arch, split, args.retrain_options)
            result = {"network": network, "predicted_ms": arch.predicted, "accuracy": accuracy}
            record("digits", {"recipe": name}, split, result)

        # The same network number on every split first: an unfinished table is balanced.
        jobs.sort(key=lambda one: (one[1], one[0]))
        list(pool.map(lambda one: job(*one), jobs))
    print_table([row for key, row in done().items() if key[0] == name])


def table_path(digest: str) -> Path:
    """The stored latency table of a hash."""
    for path in Path("runs/tables").glob("latency-*.json"):
        if LatencyTable.read(path).hash == digest:
            return path
    raise SystemExit(f"no table {digest[:12]} in runs/tables: search again")


def print_table(rows: Sequence[dict]) -> None:
    """Accuracy of found and random networks by split, and the paired difference."""
    print_head(rows)
    print("split  found   random mean (n)   random sd   difference")
    differences = []
    for split in sorted({row["seed"] for row in rows}):
        here = [row for row in rows if row["seed"] == split]
        found = next(row["accuracy"] for row in here if row["network"] == "found")
        others = [row["accuracy"] for row in here if row["network"] != "found"]
        differences.append(found - np.mean(others))
        print(
            f"{split:<6} {found:.4f}  {np.mean(others):.4f} ({len(others)})        "
            f"{np.std(others, ddof=1):.4f}      {differences[-1]:+.4f}"
        )
    found = [row["accuracy"] for row in rows if row["network"] == "found"]
    half = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
    print(f"found: mean {np.mean(found):.4f}")
    print(f"found - random, paired by split: {np.mean(differences):+.4f} +- {half:.4f} (95 %)")


if __name__ == "__main__":
    main()
