"""The latency of networks on this machine: measured whole, or predicted from a table.

The protocol is that of research on noisy machines: a process of its own, one thread, batch 1,
ONNX Runtime, round-robin visits (``supernet.latency.measuring``).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from supernet.archfile import write_atomic
from supernet.errors import UserError
from supernet.latency.build import FULL, QUICK, Effort, build, middle, plan
from supernet.latency.device import Device, OnnxFile, Subject, ThisMachine, describe, subject_key
from supernet.latency.measuring import NETWORKS, Bench, mean_times, to_npz
from supernet.latency.table import VERSION, LatencyTable, canonical_json
from supernet.parts import Part
from supernet.progress import ProgressLines
from supernet.space import MnasSpace
from supernet.spec import NetSpec

__all__ = ["LatencyTable", "measure_onnx", "measure_specs", "table_for"]


def measure_specs(specs: Sequence[NetSpec], sessions: int = 2, visits: int = 20) -> list[float]:
    """Latency of whole networks, each in ms of one image on one thread.

    Args:
        specs: networks; weights do not matter.
        sessions: times that everything is loaded anew.
        visits: of each network in each session.
    """
    return _measure(specs, sessions, visits)


def measure_onnx(path: str | Path, resolution: int, sessions: int = 2, visits: int = 20) -> float:
    """Latency of an exported network, in ms of one image on one thread.

    Args:
        path: an ONNX file with images (batch, 3, R, R) as its one input.
        resolution: side of the image, in pixels.
        sessions: times that it is loaded anew.
        visits: in each session.

    Raises:
        UserError: when the file is missing or ONNX Runtime cannot run it.
    """
    if not Path(path).is_file():
        raise UserError(f"there is no file {path} to measure: name an exported .onnx file")
    return _measure([OnnxFile(Path(path), resolution)], sessions, visits)[0]


def _measure(subjects: Sequence[Subject], sessions: int, visits: int) -> list[float]:
    if not subjects:
        return []
    distinct = list(dict.fromkeys(subjects))
    with ThisMachine() as device:
        bench = Bench(device, distinct[0], random.Random(0))
        measured = [
            bench.measure(distinct, NETWORKS, math.inf, visits, lambda _: None)
            for _ in range(sessions)
        ]
    means = mean_times(measured)
    return [means[subject_key(subject)].later for subject in subjects]


def table_for(
    space: MnasSpace,
    references: Sequence[NetSpec],
    cache_dir: str | Path,
    quick: bool = True,
    progress: bool = True,
    machine: Callable[[], AbstractContextManager[Device]] = ThisMachine,
) -> LatencyTable:
    """This machine's table of a space: from the cache, or measured now.

    Args:
        space: whose layers to measure.
        references: further networks that the table must predict.
        cache_dir: a folder for tables; a table is found again by device, runtime, space,
            references and effort. Raw times lie beside it in an .npz file.
        quick: spend about a minute; otherwise about five. A full table also serves quick calls.
        progress: show a progress bar while measuring.
        machine: what measures.

    Raises:
        UserError: when the cached file is broken, the space too small or the disk full.
    """
    chosen = plan(space, references, QUICK if quick else FULL)
    efforts = [FULL, QUICK] if quick else [FULL]
    fingerprints = [_fingerprint(space, chosen.parts, effort) for effort in efforts]
    paths = [_path(Path(cache_dir), fingerprint) for fingerprint in fingerprints]
    for path in paths:
        if path.exists():
            return LatencyTable.load(path)
    paths[-1].parent.mkdir(parents=True, exist_ok=True)
    with machine() as device, ProgressLines(shown=progress) as bar:
        task = bar.add_task(
            "measure", total=efforts[-1].seconds, status="seconds at most, timing this machine"
        )
        bench = Bench(device, middle(space), random.Random(0))
        table, raw = build(
            bench,
            chosen,
            efforts[-1],
            fingerprints[-1],
            lambda spent: bar.update(task, advance=spent),
        )
    write_atomic(paths[-1].with_suffix(".npz"), to_npz(raw))
    table.save(paths[-1])
    return table


def _fingerprint(space: MnasSpace, parts: Sequence[Part], effort: Effort) -> dict[str, Any]:
    keys = canonical_json([part.key for part in parts])
    fields = {
        **describe(),
        "space": dataclasses.asdict(space),
        "parts": hashlib.sha256(keys.encode()).hexdigest(),
        "effort": dataclasses.asdict(effort),
        "version": VERSION,
    }
    # As a file gives it back: tuples become lists.
    return dict(json.loads(canonical_json(fields)))


def _path(folder: Path, fingerprint: dict[str, Any]) -> Path:
    name = hashlib.sha256(canonical_json(fingerprint).encode()).hexdigest()[:16]
    return folder / f"latency-{name}.json"
