"""Which settings train the shared weights? Accuracy of random networks, variant by variant.

``python -m benchmarks.supernet_variants`` runs a short digits search by slices for each variant and
judges 50 random architectures at the end of uniform sampling (``benchmarks.supernet_accuracy``). A
variant that is recorded in benchmarks/results/supernet_accuracy.jsonl is not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.record import RESULTS, print_head

VARIANTS = {
    "default": [],
    "SGD, lr 0.1": ["--model.weights.name", "sgd", "--model.weights.lr", "0.1"],
    "lr 3e-3": ["--model.weights.lr", "3e-3"],
    "lr 1.2e-2": ["--model.weights.lr", "1.2e-2"],
    "no warm-up": ["--model.schedule.warmup", "0"],
    # Of all steps, of which SLICES leaves 80 % to uniform paths.
    "warm-up 30 %": ["--model.schedule.warmup", "0.375"],
    "warm-up 80 %": ["--model.schedule.warmup", "1"],
    "no stream": ["--model.schedule.stream", "0"],
    "weight decay 0.05": ["--model.weights.weight_decay", "0.05"],
}
FINAL = '{"samples": 1, "candidates": 1, "tuning_steps": 0, "measured": 0}'
SLICES = ["--model.sampling.score", "accuracy", "--model.schedule.share", "0.8"]
"""A search by tunings would leave fewer steps to shared weights."""


def recorded() -> dict[str, dict]:
    """Results by the variant's note."""
    path = RESULTS / "supernet_accuracy.jsonl"
    rows = map(json.loads, path.read_text().splitlines()) if path.exists() else []
    return {row["note"]: row for row in rows}


def measure(name: str, note: str, steps: int, folder: Path) -> None:
    """Search with one variant and judge its supernet."""
    run = folder / name.replace(" ", "-").replace("%", "percent").replace(",", "")
    going = ["--ckpt_path", "last"] if (run / "config.yaml").exists() else []
    search = ["search", "fit", "-c", "configs/digits/search.yaml", "--run", run]
    search += ["--trainer.max_steps", steps, "--model.final", FINAL, "--wandb.mode", "disabled"]
    for line in (
        [*search, *SLICES, *VARIANTS[name], *going],
        ["benchmarks.supernet_accuracy", run, "--note", note],
    ):
        subprocess.run([sys.executable, "-m", *map(str, line)], check=True)


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500, help="of the whole search")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark-variants"))
    args = parser.parse_args()
    notes = {name: f"{name}, search of {args.steps}" for name in args.variants}
    for name, note in notes.items():
        if note not in recorded():
            measure(name, note, args.steps, args.folder)
    rows = {name: recorded()[note] for name, note in notes.items()}
    print_head(rows.values())
    print("variant              steps   mean   5 %    min")
    for name, row in rows.items():
        print(f"{name:<20} {row['steps']:<7} {row['mean']:.3f}  {row['q05']:.3f}  {row['min']:.3f}")


if __name__ == "__main__":
    main()
