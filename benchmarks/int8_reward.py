"""Whether a search that is rewarded by time in int8 finds better networks to be shipped in int8.

``python -m benchmarks.int8_reward`` measures a latency table of this machine in fp32 and one in
int8. It searches with the first at shares of the space (``--targets``), prices what is found by the
second, and searches with that for the same time in int8. Both networks are retrained, exported to
ONNX in int8 after training, timed and tested; printed, and kept, are their times and accuracies in
int8. It can be stopped and run again: what is finished is in benchmarks/results/int8_reward.jsonl
and is not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import RESULTS, print_head, record
from search.evaluation.estimates import Mean, cell
from supernet.arch_file import read_arch
from supernet.command.output import new_table, print_table
from supernet.command.process import run_command
from supernet.errors import UserError
from supernet.latency.table.bench import NETWORKS
from supernet.latency.table.plan import random_networks
from supernet.latency.table.table import LatencyTable
from supernet.latency.this_machine import measure_specs

REWARDS = ("fp32", "int8")
"""Precisions of the tables that searches are rewarded by; the second follows the first."""
REFUSED = 1
"""Status of an export whose file in int8 is too far from that of floats."""

Row = Mapping[str, Any]


class Chain:
    """Searches on cluttered digits, and what becomes of their choices in int8."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def table(self, precision: str) -> Path:
        """The latency table of this machine, measured unless it is there."""
        path = self.folder / f"{precision}.json"
        if not path.exists():
            command = ["supernet.latency", "build", "--space", "configs/spaces/clutter.yaml"]
            self._run(*command, "--precision", precision, "--out", path)
        return path

    def measure(self, reward: str, target: str, seed: int) -> dict[str, Any]:
        """Times and accuracies of what a search finds.

        Args:
            reward: precision of the table; in int8 for the time of what fp32 has found before.
            target: of the search in fp32.
            seed: of search and retraining.
        """
        found = self._place(reward, target, seed)
        trained = found.with_name(f"{found.name}-retrained")
        cost = target if reward == "fp32" else self._time_in_int8(target, seed)
        shared = ["--seed_everything", seed, "--wandb.mode", "disabled", "--ckpt_path", "auto"]
        searched = ["-c", "configs/clutter/search.yaml", "--run", found, "--model.target", cost]
        searched += ["--model.table", self.table(reward), "--model.final.measured", 0]
        self._run("search", "fit", *searched, *shared)
        retrained = ["-c", "configs/clutter/retrain.yaml", "--run", trained]
        self._run("retrain", "fit", *retrained, "--model.arch", found / "arch.json", *shared)
        # Files that may not ship are judged too: the question is what is lost.
        exported = ["--formats", "onnx", "--quantize", "int8", "--max_accuracy_loss", 100]
        self._run("retrain.export", "--run", trained, *exported, passes=(0, REFUSED))
        return figures(found, trained)

    def _place(self, reward: str, target: str, seed: int) -> Path:
        return self.folder / f"{reward}-{target}-{seed}"

    def _time_in_int8(self, target: str, seed: int) -> float:
        """What the choice of the search in fp32 takes by the table in int8, ms."""
        arch = read_arch(self._place("fp32", target, seed) / "arch.json")
        return LatencyTable.read(self.table("int8")).predict(arch.spec)

    @staticmethod
    def _run(module: str, *words: object, passes: Sequence[int] = (0,)) -> None:
        line = [sys.executable, "-m", module, *map(str, words)]
        done = subprocess.run(line, check=False, stdout=subprocess.DEVNULL)
        if done.returncode not in passes:
            raise UserError(f"{shlex.join(line)} ended with status {done.returncode}")


def figures(found: Path, run: Path) -> dict[str, Any]:
    """Times of a search's choice as tables mean them, and accuracies of its exported files."""
    report = json.loads((run / "export.json").read_text())
    small = report["formats"]["onnx-int8"]
    arch = read_arch(found / "arch.json")
    among = random_networks(arch.space, [arch.spec], NETWORKS.group_size - 1, seed=0)
    fp32_ms, int8_ms = (measure_specs([arch.spec], among, precision=one)[0] for one in REWARDS)
    return {
        "blocks": arch.spec.block_strings(),
        "limit": arch.target,
        "fp32_ms": fp32_ms,
        "int8_ms": int8_ms,
        "fp32_accuracy": small["accuracy"]["fp32_accuracy"],
        "int8_accuracy": small["accuracy"]["accuracy"],
        "test_images": small["accuracy"]["images"],
        "refused": small["failure"],
    }


def pairs_of(rows: Iterable[Row]) -> list[tuple[Row, Row]]:
    """Rows of one target and seed, by reward; those of which both are there."""
    by_question: dict[tuple[str, int], dict[str, Row]] = {}
    for row in rows:
        by_question.setdefault((row["target"], row["seed"]), {})[row["reward"]] = row
    both = (some for some in by_question.values() if len(some) == len(REWARDS))
    return [(some["fp32"], some["int8"]) for some in both]


def show(rows: Sequence[Row], targets: Sequence[str]) -> None:
    """Print what each reward found, and what int8 gains over fp32."""
    print_head(rows)
    headers = ("reward", "target", "ms in int8", "ms in fp32", "accuracy in int8, %", "searches")
    table = new_table(*headers, left=("reward", "target"))
    for reward in REWARDS:
        for target in targets:
            some = [row for row in rows if (row["reward"], row["target"]) == (reward, target)]
            if some:
                table.add_row(reward, target, *_means(some), str(len(some)))
    print_table(table)
    if len(pairs := pairs_of(rows)) > 1:
        gains = [
            100 * (small["int8_accuracy"] - floats["int8_accuracy"]) for floats, small in pairs
        ]
        ratios = [100 * math.log(small["int8_ms"] / floats["int8_ms"]) for floats, small in pairs]
        print(f"points of accuracy, int8 less fp32: {cell(Mean.of(gains).estimate)}")
        print(f"percent of time in int8, int8 less fp32: {cell(Mean.of(ratios).estimate)}")


def _means(rows: Sequence[Row]) -> list[str]:
    names = ("int8_ms", "fp32_ms", "int8_accuracy")
    int8_ms, fp32_ms, accuracy = (np.mean([row[name] for row in rows]) for name in names)
    return [f"{int8_ms:.4f}", f"{fp32_ms:.4f}", f"{100 * accuracy:.1f}"]


def known(path: Path) -> dict[tuple[str, str, int], Row]:
    """Rows that are there, by reward, target and seed."""
    rows = map(json.loads, path.read_text().splitlines()) if path.exists() else []
    return {(row["reward"], row["target"], row["seed"]): row for row in rows}


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, retrain and export what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/int8-reward"))
    parser.add_argument("--targets", nargs="+", default=["p30", "p50", "p70"])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    path, chain = RESULTS / "int8_reward.jsonl", Chain(options.folder)
    questions = [
        (reward, target, seed)
        for seed in range(options.seeds)
        for target in options.targets
        for reward in REWARDS
    ]
    for reward, target, seed in questions:
        if (reward, target, seed) not in known(path):
            config = {"reward": reward, "target": target}
            record("int8_reward", config, seed, chain.measure(reward, target, seed))
    rows = known(path)
    show([rows[question] for question in questions], options.targets)


if __name__ == "__main__":
    run_command(main)
