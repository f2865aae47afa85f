"""What helps on few pictures: recipes of one small network on icons, with and without aids.

``python -m benchmarks.recipes`` makes the picture set of ``benchmarks.icons`` for each seed, which
deals the icons to splits too, trains a network on it by each recipe, and prints a table of test
accuracies and of what a recipe gains over the first, paired by seed. Nothing is downloaded: the
pretrained network was trained here on characters (``benchmarks.glyphs``), and the teacher is that
network, fine-tuned on the same icons. It can be stopped and run again: finished trainings are in
benchmarks/results/recipes.jsonl and are not repeated.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from benchmarks import glyphs
from benchmarks.icons import make_folder
from benchmarks.record import RESULTS, config_hash, print_head, record
from retrain.__main__ import main as retrain
from supernet.command.output import new_table, print_table
from supernet.command.process import run_command
from supernet.network.checkpoint import load_network

NETWORK = "mnasnet_small_050"
TRAINING = (
    *("--data", "ImageFolder", "--data.resolution", "32", "--data.batch_size", "16"),
    *("--data.num_workers", "0", "--trainer.accelerator", "cpu", "--threads", "1"),
    *("--model.recipe.optimizer", "adamw", "--model.recipe.lr", "0.06", "--model.recipe.eps", "0"),
    *("--model.recipe.weight_decay", "0.05", "--model.recipe.schedule", "cosine"),
    *("--model.recipe.warmup", "0.1", "--model.recipe.ema_decay", "0"),
    *("--model.recipe.bn_momentum", "0.1", "--model.recipe.dropout", "0"),
    *("--wandb.mode", "disabled"),
)
"""What all trainings share."""
EPOCHS, EPOCHS_OF_GLYPHS = 80, 5
CROPS = ("--data.crop_area", "0.5", "--data.flip", "0.5")
LIGHT = (*CROPS, "--model.recipe.augmentation.preset", "light")
RECIPES: dict[str, tuple[str, ...]] = {
    "from scratch": ("--data.crop_area", "1", "--data.flip", "0"),
    "light": LIGHT,
    "strong": (*CROPS, "--model.recipe.augmentation.preset", "strong"),
    "light, pretrained": (*LIGHT, "--model.init", "timm:{pretrained}"),
    "light, teacher": (*LIGHT, "--model.teacher", "{teacher}"),
}
"""Options of each recipe; those of augmentation crop and flip too."""
PRETRAINED = "light, pretrained"
"""Recipe of the teacher."""


def train(run: Path, root: Path, epochs: int, seed: int, options: Sequence[str]) -> None:
    """Train the network by a recipe and test its last weights; go on where it was stopped."""
    shared = [*TRAINING, "--run", str(run), "--model.arch", NETWORK, "--data.root", str(root)]
    shared += ["--seed_everything", str(seed), "--trainer.max_epochs", str(epochs)]
    shared += ["--trainer.check_val_every_n_epoch", str(epochs), *options]
    if not (run / "test.json").exists():
        retrain(["fit", *shared, "--ckpt_path", "auto"])
        # The cosine has ended: 50 validation images would choose by luck.
        retrain(["test", *shared, "--ckpt_path", str(last(run))])


def last(run: Path) -> Path:
    """The last weights of a run."""
    return run / "checkpoints" / "last.ckpt"


def pretrained(folder: Path) -> Path:
    """Weights of the network from characters, made unless they are there."""
    weights, root = folder / "glyphs.pth", folder / "glyphs"
    if not weights.exists():
        glyphs.make_folder(root)
        train(folder / "on-glyphs", root, EPOCHS_OF_GLYPHS, 0, CROPS)
        torch.save(load_network(last(folder / "on-glyphs")).state_dict(), weights)
    return weights


def run_folder(folder: Path, recipe: str, seed: int) -> Path:
    """The run of a recipe."""
    return folder / f"seed-{seed}" / recipe.replace(", ", "-").replace(" ", "-")


def measure(folder: Path, recipe: str, seed: int) -> dict[str, Any]:
    """Test figures of a recipe on the icons as a seed deals them; trains its teacher first."""
    root, run, options = folder / f"icons-{seed}", run_folder(folder, recipe, seed), RECIPES[recipe]
    if not root.exists():
        make_folder(root, Path("/usr/share/icons"), seed)
    places = {"teacher": "", "pretrained": ""}
    if "{teacher}" in options:
        measure(folder, PRETRAINED, seed)
        places["teacher"] = str(last(run_folder(folder, PRETRAINED, seed)))
    if "timm:{pretrained}" in options:
        places["pretrained"] = str(pretrained(folder))
    train(run, root, EPOCHS, seed, [word.format(**places) for word in options])
    figures = json.loads((run / "test.json").read_text())
    return {name: figures[name] for name in ("accuracy", "images", "majority_share")}


def config_of(recipe: str) -> dict[str, Any]:
    """What tells the rows of a recipe from those of another."""
    words = " ".join([*TRAINING, *RECIPES[recipe]])
    lengths = {"epochs": EPOCHS, "epochs_of_glyphs": EPOCHS_OF_GLYPHS}
    return {"recipe": recipe, "network": NETWORK, "options": words, **lengths}


def known(path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Rows of the recipes as they are today, by recipe and seed."""
    hashes = {config_hash(config_of(recipe)) for recipe in RECIPES}
    rows = map(json.loads, path.read_text().splitlines()) if path.exists() else []
    return {(row["recipe"], row["seed"]): row for row in rows if row["config"] in hashes}


def show(rows: Mapping[tuple[str, int], Mapping[str, Any]]) -> None:
    """Print accuracies with their deviation, and gains over the first recipe, paired by seed."""
    print_head(list(rows.values()))
    headers = ("recipe", "test accuracy, %", "gain, points (95 %)", "seeds")
    table = new_table(*headers, left=("recipe",))
    first = accuracies_of(rows, next(iter(RECIPES)))
    for recipe in RECIPES:
        found = accuracies_of(rows, recipe)
        if found:
            gains = [value - first[seed] for seed, value in found.items() if seed in first]
            values = np.array(list(found.values()))
            deviation = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
            words = f"{values.mean():.1f}{deviation}"
            table.add_row(recipe, words, interval(gains), str(len(found)))
    print_table(table)


def accuracies_of(
    rows: Mapping[tuple[str, int], Mapping[str, Any]], recipe: str
) -> dict[int, float]:
    """Test accuracy of a recipe by seed, in percent."""
    return {seed: 100 * row["accuracy"] for (name, seed), row in rows.items() if name == recipe}


def interval(gains: Sequence[float]) -> str:
    """Mean of some gains and half of its interval by Student's t."""
    if len(gains) < 2 or not np.ptp(gains):
        return ""
    half = stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains)
    return f"{np.mean(gains):+.1f} ± {half:.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    rows = known(RESULTS / "recipes.jsonl")
    for seed in range(options.seeds):
        for recipe in RECIPES:
            if (recipe, seed) not in rows:
                record("recipes", config_of(recipe), seed, measure(options.folder, recipe, seed))
    show(known(RESULTS / "recipes.jsonl"))


if __name__ == "__main__":
    run_command(main)
