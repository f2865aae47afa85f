"""Where measurements go: one JSON line for each, with what it takes to repeat it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from search.evaluation.jobs import commit, other_commits, short_hash
from supernet.latency.devices.device import cpu_model

RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """The machine in words, for the head of a table."""
    return (
        f"{cpu_model()}, {os.cpu_count()} cores, torch {torch.__version__},"
        f" {torch.get_num_threads()} thread(s), Python {platform.python_version()}"
    )


def print_head(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print above a table of recorded rows the machine, and which of them other code has made."""
    for line in filter(None, [machine(), other_commits(rows)]):
        print(f"# {line}")


def config_hash(config: Any) -> str:
    """A short name of a configuration."""
    return short_hash(config)[:12]


def record(
    name: str, config: Any, seed: int, result: dict[str, Any], folder: Path = RESULTS
) -> None:
    """Append one finished measurement to ``NAME.jsonl`` in ``folder``.

    A copy of the code without git is told its commit by the variable COMMIT.
    """
    folder.mkdir(parents=True, exist_ok=True)
    version = commit() or os.environ.get("COMMIT", "")
    row = {"config": config_hash(config), "seed": seed, "commit": version, **config, **result}
    with (folder / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
