"""Whether a search that is rewarded by time in int8 finds what is faster in int8.

``python -m benchmarks.int8_reward`` measures a latency table of this machine in fp32 and one in
int8, and searches with each at the same shares of the space (``--targets``). What is found is
retrained, exported to ONNX in int8 after training, timed and tested. It prints, and keeps, times
and accuracies in int8, and compares times at equal accuracy: over all networks, accuracy is a line
in the logarithm of time, moved by a constant where the reward was in int8. It can be stopped and
run again: finished searches are in benchmarks/results/int8_reward.jsonl and are not repeated.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import RESULTS, print_head, record
from search.evaluation.estimates import Estimate, cell
from supernet.arch_file import read_arch
from supernet.command.output import new_table, print_table
from supernet.command.process import run_command
from supernet.errors import UserError
from supernet.latency.table.bench import NETWORKS
from supernet.latency.table.plan import random_networks
from supernet.latency.this_machine import measure_specs

REWARDS = ("fp32", "int8")
"""Precisions of the tables that searches are rewarded by."""
RESAMPLES = 10_000
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
        """Times and accuracies in int8 and in fp32 of what a search finds."""
        found = self.folder / f"{reward}-{target}-{seed}"
        trained = found.with_name(f"{found.name}-retrained")
        shared = ["--seed_everything", seed, "--wandb.mode", "disabled", "--ckpt_path", "auto"]
        searched = ["-c", "configs/clutter/search.yaml", "--run", found, "--model.target", target]
        searched += ["--model.table", self.table(reward), "--model.final.measured", 0]
        self._run("search", "fit", *searched, *shared)
        retrained = ["-c", "configs/clutter/retrain.yaml", "--run", trained]
        self._run("retrain", "fit", *retrained, "--model.arch", found / "arch.json", *shared)
        # Files that may not ship are judged too: the question is what is lost.
        exported = ["--formats", "onnx", "--quantize", "int8", "--max_accuracy_loss", 100]
        self._run("retrain.export", "--run", trained, *exported, passes=(0, REFUSED))
        return figures(found, trained)

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
        "predicted": arch.predicted,
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


def ratio_at_equal_accuracy(pairs: Sequence[tuple[Row, Row]]) -> float:
    """Time in int8 of what the reward in int8 found, over that of the other, of equal accuracy."""
    rows = [row for pair in pairs for row in pair]
    design = [[1, np.log(row["int8_ms"]), row["reward"] == "int8"] for row in rows]
    accuracy = [row["int8_accuracy"] for row in rows]
    slope, moved = np.linalg.lstsq(np.array(design, float), np.array(accuracy), rcond=None)[0][1:]
    return float(np.exp(-moved / slope))


def resampled(pairs: Sequence[tuple[Row, Row]]) -> Estimate:
    """That ratio, with the 95 % interval of a bootstrap of pairs."""
    draws = np.random.default_rng(0).integers(len(pairs), size=(RESAMPLES, len(pairs)))
    values = [ratio_at_equal_accuracy([pairs[place] for place in draw]) for draw in draws]
    return Estimate(ratio_at_equal_accuracy(pairs), *np.quantile(values, [0.025, 0.975]))


def show(rows: Sequence[Row], targets: Sequence[str]) -> None:
    """Print what each reward found, and times at equal accuracy."""
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
        print(f"time in int8 at equal accuracy, int8 over fp32: {cell(resampled(pairs))}")


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
