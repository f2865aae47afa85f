"""``python -m benchmarks.search_cost``: what is assumed, and the tables."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.record import RESULTS
from benchmarks.search_cost.model import ASSUMED_LINK, Cost, Drawn, Rates, Recipe
from benchmarks.search_cost.tables import images_per_core, print_costs, print_growth, print_steps
from supernet.command.process import run_command


def parse_options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", type=Path, default=Path("configs/imagefolder"), metavar="DIR")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--rows", type=Path, default=RESULTS / "gpu_check.jsonl", metavar="FILE")
    return parser.parse_args()


def main() -> None:
    """Print what is assumed, and the tables."""
    options = parse_options()
    recipe, rates = Recipe.read(options.configs), Rates.read(options.rows)
    drawn, (per_core, where) = Drawn(recipe), images_per_core()
    costs = [Cost(recipe, drawn, rates, gpus) for gpus in options.gpus]
    print(f"# speed of a GPU {rates.source}")
    print(f"# reading measured: {per_core:,.0f} images/s of 500x375 px and core ({where})")
    print(f"# exchange assumed: {ASSUMED_LINK / 1e9:.0f} GB/s of each GPU, beside nothing else")
    print_costs(costs)
    print_steps(costs)
    print_growth(recipe)


if __name__ == "__main__":
    run_command(main)
