"""Files of a plan: the configs of a search and of a retraining, and the space between them."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from search.plan.estimate import TimeEstimate
from search.plan.planning import PlannedRuns, PlanRequest
from search.plan.rules import crop_area, ema_decay, num_workers, preset, validation_interval
from supernet.errors import UserError
from supernet.files.writing import write_atomic

NAMES = ("search.yaml", "retrain.yaml", "space.yaml")
MARK = "Written by mnasnet plan, of which the next one for this folder replaces it."
LOGGED = {"log_every_n_steps": 10}
Values = dict[str, Any]


def configs(request: PlanRequest, folder: Path, plan: PlannedRuns) -> dict[str, Values]:
    """Contents of the files of a plan, whose runs lie in ``folder`` too, by their names."""
    estimate, lengths = plan.estimate, plan.lengths
    trainer: Values = {"accelerator": estimate.machine.kind, "devices": 1}
    if estimate.machine.kind == "gpu":
        trainer["precision"] = "bf16-mixed"
    data = {"class_path": "ImageFolder", "init_args": _images(request, plan)}
    model: Values = {"space": NAMES[2], "target": request.target, "cost": request.cost}
    if request.table:
        model["table"] = request.table
    elif request.cost == "ms":
        model["table_cache"] = request.table_cache
    steps = lengths.epochs * estimate.steps_per_epoch
    search = {
        "run": str(folder / "search"),
        "data": data,
        "model": model,
        "trainer": {**trainer, "max_steps": lengths.search_steps, "max_epochs": -1, **LOGGED},
    }
    interval = {"check_val_every_n_epoch": validation_interval(lengths.epochs)}
    retraining = {
        "run": str(folder / "retrain"),
        "data": data,
        "model": {"arch": str(folder / "search" / "arch.json"), "recipe": recipe(estimate, steps)},
        "trainer": {**trainer, "max_epochs": lengths.epochs, **interval, **LOGGED},
    }
    space = json.loads(json.dumps(plan.space.plain()))
    # Copied, as yaml would else write names of parts that two files share.
    return dict(zip(NAMES, (search, copy.deepcopy(retraining), space), strict=True))


def _images(request: PlanRequest, plan: PlannedRuns) -> Values:
    estimate = plan.estimate
    arguments = {
        "root": str(request.root),
        "resolution": estimate.rates.resolution,
        "batch_size": estimate.batch,
        "num_workers": num_workers(estimate.machine),
        "crop_area": crop_area(plan.lengths.epochs),
    }
    if request.on_bad_image != "error":
        arguments["on_bad_image"] = request.on_bad_image
    return arguments


def recipe(estimate: TimeEstimate, steps: int) -> Values:
    """Recipe of a retraining of so many steps; what does not follow is that of configs/photos."""
    images = estimate.images
    return {
        "optimizer": "adamw",
        "lr": 0.04,
        "eps": 0.0,
        "weight_decay": 0.05,
        "schedule": "cosine",
        "warmup": 0.1,
        "ema_decay": ema_decay(steps),
        "bn_momentum": 0.1,
        "dropout": 0.2,
        "label_smoothing": 0.1,
        "augmentation": {"preset": preset(images.num_training / images.num_classes)},
    }


def write_configs(folder: Path, contents: Mapping[str, Values], lines: Sequence[str]) -> None:
    """Write a plan's files into its folder, in the place of an earlier plan's.

    ``lines`` stand in each file as its comment.

    Raises:
        UserError: when a run is there already, or files of these names that no plan has written.
    """
    check_unused(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder} ({error.strerror})") from None
    head = "".join(f"# {line}\n" for line in (MARK, *lines))
    for name, fields in contents.items():
        text = yaml.safe_dump(fields, sort_keys=False, width=100)
        write_atomic(folder / name, f"{head}{text}".encode())


def check_unused(folder: Path) -> None:
    """Refuse a folder in which a run has begun, or whose files no plan has written.

    Raises:
        UserError: naming the run or the file.
    """
    for run in ("search", "retrain"):
        if (folder / run / "config.yaml").exists():
            raise UserError(
                f"{folder / run} is a run already: go on with it (--ckpt_path last), or name"
                " another --folder"
            )
    for name in NAMES:
        path = folder / name
        if path.exists() and not path.read_bytes().startswith(f"# {MARK}".encode()):
            raise UserError(f"{path} is no file of a plan: move it away, or name another --folder")
