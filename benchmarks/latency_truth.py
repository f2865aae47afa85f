"""How true latency tables are, and what they need: ``python -m benchmarks.latency_truth TABLE...``.

Takes tables of ``python -m supernet.latency build`` with the files that ``validate`` wrote beside
them, and prints: predictions against fresh networks, beside baselines and noise; and the same for
corrections that are fitted to fewer networks. Appends one line for each table and validation to
benchmarks/results/latency_truth.jsonl.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import machine, record
from supernet.files.reading import read_as
from supernet.latency.build import raw_path
from supernet.latency.table.correction import LayerSums, fit_correction
from supernet.latency.table.table import LatencyTable
from supernet.latency.table.validation import Accuracy, Validation, accuracy, mean_ms
from supernet.space.spec import NetSpec

NUMBERS = (5, 10, 20, 40, 80)
"""Networks to calibrate with."""
DRAWS = 20
"""Random choices of as many."""


def fresh(path: Path) -> tuple[dict[str, Any], list[NetSpec], np.ndarray]:
    """A validation's figures, its networks and the logarithms (sessions, networks) of their ms."""
    report = json.loads(path.read_text())
    rows = report["networks"]
    logs = [[math.nan if log is None else log for log in row["log_ms"]] for row in rows]
    return report, [NetSpec.from_dict(row["spec"]) for row in rows], np.array(logs).T


def by_number(table: LatencyTable, specs: Sequence[NetSpec], ms: np.ndarray) -> dict[int, Accuracy]:
    """Mean figures of corrections that are fitted to so many networks."""
    known, rng = table.measured("calibration"), random.Random(0)
    judged = LayerSums(table.entries, specs)
    found = {}
    for number in NUMBERS:
        if number > len(known):
            break
        rows = []
        for _ in range(DRAWS if number < len(known) else 1):
            drawn = rng.sample(known, number)
            sums = LayerSums(table.entries, [one.spec for one in drawn])
            correction = fit_correction(sums, np.array([one.ms for one in drawn]))
            predicted = judged.predict(correction.weights)
            rows.append(dataclasses.astuple(accuracy(predicted, ms)))
        found[number] = Accuracy(*np.mean(rows, axis=0).tolist())
    return found


def minutes(path: Path) -> dict[str, float]:
    """What measuring took, by what was measured."""
    spent = {"parts": 0.0, "networks": 0.0}
    for line in raw_path(path).read_text().splitlines():
        row = json.loads(line)
        if "seconds" in row:
            spent[row["group"].split()[0]] += (row["seconds"] + row["loading"]) / 60
    return {name: round(value, 1) for name, value in spent.items()}


def show(label: str, one: Accuracy) -> None:
    """Print a line."""
    print(
        f"{label:<34}{one.mape:>8.1%}{one.within_5:>9.0%}{one.within_10:>9.0%}"
        f"{one.kendall_tau:>8.3f}{one.bias:>+8.1%}"
    )


def report(path: Path) -> None:
    """Print and record one table and its validations."""
    table = LatencyTable.read(path)
    print(f"\n# {path}: {table.device}, {len(table.entries)} layers, minutes {minutes(path)}")
    for file in sorted(path.parent.glob(f"{path.stem}.validation-*.json")):
        content, specs, log_ms = fresh(file)
        if content["table"] != table.hash:
            raise SystemExit(f"{file} is of another table than {path}: validate it again")
        found = read_as(Validation, content["validation"], "validation.")
        predicted, noise = found.predicted, found.noise
        print(f"{'':<34}{'error':>8}{'<= 5 %':>9}{'<= 10 %':>9}{'tau':>8}{'bias':>8}")
        show(f"table ({table.correction.form})", predicted)
        for name, one in found.baselines.items():
            show(name, one)
        print(
            f"sessions {found.sessions}, of which at least {found.least_sessions} count;"
            f" the machine has slowed down by {content['drift']:+.1%}"
        )
        show(
            "noise",
            Accuracy(noise.floor, noise.within_5, noise.within_10, noise.kendall_tau, bias=0.0),
        )
        print(
            f"own error {found.own_error:.1%}, error over noise {predicted.mape / noise.floor:.1f},"
            " tau over that of two measurements"
            f" {predicted.kendall_tau / noise.kendall_tau:.2f}"
        )
        fewer = by_number(table, specs, mean_ms(log_ms))
        for number, one in fewer.items():
            show(f"calibrated with {number} networks", one)
        config = {
            "resolution": table.space.resolution,
            "device": table.device,
            "effort": table.fingerprint["effort"],
            "form": table.correction.form,
        }
        results = {
            **content["validation"],
            "own_error": found.own_error,
            "drift": content["drift"],
            "minutes": minutes(path),
            "calibration": {n: dataclasses.asdict(one) for n, one in fewer.items()},
        }
        record("latency_truth", config, int(file.stem.rpartition("-")[2]), results)


def main() -> None:
    """Report all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path, nargs="+", metavar="TABLE")
    print(f"# {machine()}")
    for path in parser.parse_args().tables:
        report(path)


if __name__ == "__main__":
    main()
