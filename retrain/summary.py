"""``mnasnet summary --run runs/NAME``: what a run found and where it lies.

Reads the files that search, retraining, test and export left; a stage that is missing is named.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from supernet.arch_file import ArchFile, is_file_name, load_spec, read_arch
from supernet.arch_records import Chance
from supernet.command.arguments import Parser
from supernet.command.output import print_table
from supernet.command.process import run_command
from supernet.cost.counts import count
from supernet.display.tables import network_table
from supernet.errors import UserError, check_range
from supernet.files.json_text import parse_json
from supernet.files.reading import read_yaml, short, typed, typed_object
from supernet.space.spec import NetSpec


def summarise(run: Path) -> None:
    """Print the network of a retraining in the folder ``run``, its costs, accuracies and files."""
    arch = _arch_of(run)
    found = read_arch(arch) if is_file_name(arch) else None
    export = _read(run / "export.json", f"mnasnet export --run {run}")
    test = _read(run / "test.json", f"mnasnet test --run {run}")
    _check_reports(run, export, test)
    spec = NetSpec.from_dict(export["spec"]) if export else load_spec(arch)
    print_table(network_table(spec))
    cost, formats = count(spec), export.get("formats", {})
    lines: list[tuple[str, object]] = [("parameters", f"{cost.params:,}")]
    lines += [("multiply-adds", f"{cost.macs:,}"), *(_search(found) if found else [])]
    lines += [
        (f"measured, {name}", f"{entry['latency_ms']:.4g} ms on one thread of this machine")
        for name, entry in formats.items()
        if "latency_ms" in entry
    ]
    if test:
        accuracy = f"{test['accuracy']:.2%} of {test['images']} images, retrained"
        lines.append(("test accuracy", accuracy))
    judged = test or export.get("metadata", {}).get("accuracy", {})
    lines += _alarm(Chance.of_figures(judged), judged.get("accuracy", 0.0))
    if found:
        figures = Path(arch).parent / "figures"
        lines += [("architecture", arch), *([("figures", figures)] if figures.is_dir() else [])]
    lines.append(("weights", run / "checkpoints" / "best.ckpt"))
    lines += [(f"network, {name}", run / entry["file"]) for name, entry in formats.items()]
    for label, value in lines:
        print(f"{label:<22}{value}")  # noqa: T201


def _search(found: ArchFile) -> list[tuple[str, str]]:
    error = f"; {found.table_error.words}" if found.table_error else ""
    lines = [
        ("target", f"{found.target:.4g} {found.unit}"),
        ("predicted", f"{found.predicted:.4g} {found.unit}{error}"),
    ]
    if measured := found.measured:
        lines.append(("measured by search", f"{measured.ms:.4g} ms, {measured.comparison}"))
    lines.append((f"{found.judged_as} accuracy", f"{found.accuracy:.2%} of validation images"))
    return [*lines, *_alarm(found.chance, found.accuracy)]


def _alarm(chance: Chance | None, accuracy: float) -> list[tuple[str, str]]:
    return [("alarm", chance.words(accuracy))] if chance and chance.alarm else []


def _arch_of(run: Path) -> str:
    config = read_yaml(run / "config.yaml", "name the --run folder of a retraining")
    model = config.get("model") if isinstance(config, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("arch"), str):
        raise UserError(f"{run} holds no retraining: name its --run folder")
    arch = model["arch"]
    if "ssdlite" in model:
        raise UserError(f"{run} holds a detector: its figures are in {run / 'test.json'}")
    return arch


def _read(path: Path, way_out: str) -> dict[str, Any]:
    """A stage's report; empty, with a line that says so, when the stage has not run."""
    if not path.exists():
        print(f"{path.name} is missing: run `{way_out}`")  # noqa: T201
        return {}
    try:
        return typed_object("the content", parse_json(path.read_bytes()))
    except (OSError, UserError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path} is broken ({reason}): run `{way_out}` again") from None


def _check_reports(run: Path, export: dict[str, Any], test: dict[str, Any]) -> None:
    """Refuse reports that lack what is printed of them, or hold it as something else."""
    export_place, test_place = f"{run / 'export.json'}: ", f"{run / 'test.json'}: "
    if export:
        typed_object(f"{export_place}spec", export.get("spec"))
        metadata = typed_object(f"{export_place}metadata", export.get("metadata", {}))
        accuracy = typed_object(f"{export_place}metadata.accuracy", metadata.get("accuracy", {}))
        _check_figures(export_place, accuracy)
        for name, entry in typed_object(f"{export_place}formats", export.get("formats")).items():
            place = f"{export_place}formats.{short(name)[1:-1]}"
            typed(f"{place}.file", typed_object(place, entry).get("file"), str)
            typed(f"{place}.latency_ms", entry.get("latency_ms", 0.0), float)
    if test:
        _check_figures(test_place, {"accuracy": None, "images": None, **test})


def _check_figures(place: str, figures: dict[str, Any]) -> None:
    for name in ("accuracy", "majority_share", "images"):
        if name in figures:
            most = math.inf if name == "images" else 1
            figure = typed(f"{place}{name}", figures[name], float)
            check_range(place, SimpleNamespace(**{name: figure}), name, least=0, most=most)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the summary of one run."""
    parser = Parser(prog="python -m retrain.summary", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a retraining")
    summarise(parser.parse_args(arguments).run)


if __name__ == "__main__":
    run_command(main)
