"""What W&B is told of a search: figures, tables, a summary of its choices, and their files."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from supernet.arch_file import ArchFile, read_arch
from supernet.cost.counts import count
from supernet.cost.model import CostModel
from supernet.latency.table.table import LatencyTable
from supernet.tracking.record import log_file, use_file


def record_findings(
    run: Any, folder: Path, choices: Sequence[Path], figures: Sequence[Path], model: CostModel
) -> None:
    """Add what a search's folder holds to a run of W&B.

    Args:
        run: of W&B.
        folder: with pareto.json, and with surrogate.json where the search learned from tunings.
        choices: the arch.json of each target.
        figures: to show.
        model: what priced networks; a latency table is noted as what the search began with.
    """
    import wandb

    run.log({f"figures/{path.stem}": wandb.Image(str(path)) for path in figures})
    points = json.loads((folder / "pareto.json").read_text())["points"]
    columns = ("cost", "accuracy", "chosen", "arch")
    run.log({"pareto": _table([{name: point[name] for name in columns} for point in points])})
    if (folder / "surrogate.json").exists():
        labels = json.loads((folder / "surrogate.json").read_text())["labels"]
        run.log({"labels": _table(labels)})
    if isinstance(model, LatencyTable):
        _use_table(run, model)
    for path in choices:
        arch = read_arch(path)
        # arch.json is choice/..., arch-p20.json choice-p20/...
        choice = path.stem.replace("arch", "choice", 1)
        run.summary.update({f"{choice}/{name}": value for name, value in summary_of(arch)})
        log_file(run, "architecture", path, predicted=arch.predicted, unit=arch.unit)


def summary_of(arch: ArchFile) -> Iterator[tuple[str, float | str]]:
    """Names and values of what a choice is, costs and is worth."""
    size = count(arch.spec)
    yield "predicted", arch.predicted
    yield "unit", arch.unit
    yield "target", arch.target
    if arch.measured:
        yield "measured_ms", arch.measured.ms
    yield "params", size.params
    yield "macs", size.macs
    yield "accuracy", arch.accuracy
    yield "blocks", " ".join(arch.spec.block_strings())


def _use_table(run: Any, model: LatencyTable) -> None:
    """Note the latency table that the search began with, wherever it lies."""
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "latency.json"
        model.write(path)
        use_file(run, "latency-table", path, model.hash)


def _table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A table of W&B; lists are words in a cell."""
    import wandb

    table = wandb.Table(columns=[*rows[0]])
    for row in rows:
        table.add_data(*(_words(value) for value in row.values()))
    return table


def _words(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else value
