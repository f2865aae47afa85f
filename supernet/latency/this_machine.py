"""This machine's own tables, kept in a folder, and networks timed whole."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from supernet.errors import UserError
from supernet.files.writing import canonical_json
from supernet.latency.build import build_table, fingerprint_of
from supernet.latency.devices.backends import Backend
from supernet.latency.devices.device import Device
from supernet.latency.devices.runtimes import Executorch, OnnxRuntime
from supernet.latency.models.model_files import ModelFiles
from supernet.latency.models.subject import NetworkFile, Subject
from supernet.latency.table.bench import NETWORKS, Bench
from supernet.latency.table.plan import QUICK, plan_measurements
from supernet.latency.table.table import LatencyTable
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec


def measure_specs(
    specs: Sequence[NetSpec],
    among: Sequence[NetSpec] = (),
    sessions: int = 4,
    rounds: int = 20,
    precision: str = "fp32",
) -> list[float]:
    """Latency of whole networks, each in ms of one image on one thread of this machine.

    Weights do not matter. ``among`` are others that run in between, as in the sessions behind a
    table: what small networks find in the caches depends on them. Each session loads everything
    anew and runs it ``rounds`` times. ``precision`` is fp32 or int8.
    """
    runtime = OnnxRuntime(Backend(precision=precision))
    return _measure([*specs, *among], sessions, rounds, runtime)[: len(specs)]


def measure_onnx(path: str | Path, resolution: int, sessions: int = 4, rounds: int = 20) -> float:
    """Latency of an exported network, in ms of one image on one thread of this machine.

    The file's one input are images (batch, 3, R, R), where R is ``resolution``.

    Raises:
        UserError: when the file is missing or ONNX Runtime cannot run it.
    """
    if not Path(path).is_file():
        raise UserError(f"there is no file {path} to measure: name an exported .onnx file")
    return _measure([NetworkFile(Path(path), resolution)], sessions, rounds)[0]


def measure_pte(path: Path, resolution: int) -> float:
    """The same of a program for ExecuTorch, which takes one image."""
    unused = ModelFiles(path.with_suffix(".models"), "pte")  # of layers and networks, not of files
    runtime = Executorch(Backend("executorch"), unused)
    return _measure([NetworkFile(path, resolution)], 4, 20, runtime)[0]


def _measure(
    subjects: Sequence[Subject], sessions: int, rounds: int, runtime: Device | None = None
) -> list[float]:
    if not subjects:
        return []
    distinct = list(dict.fromkeys(subjects))
    with runtime or OnnxRuntime() as device:
        bench = Bench(device, distinct[0])
        measured = [bench.measure(NETWORKS, n, distinct, rounds) for n in range(sessions)]
    estimates = bench.estimates(NETWORKS, measured)
    return [estimates.mean(subject).later for subject in subjects]


def table_for(
    space: MnasSpace,
    references: Sequence[NetSpec],
    cache_dir: str | Path,
    progress: bool = True,
    machine: Callable[[], Device] = OnnxRuntime,
) -> LatencyTable:
    """This machine's table of a space: from the cache, or measured now, which takes a minute.

    It also predicts the networks ``references``. In the folder ``cache_dir`` it is found again by
    device, runtime, space, references and effort; raw times lie beside it, and a build that was
    stopped goes on.

    Raises:
        UserError: when the cached file is broken, the space too small or the disk full.
    """
    plan = plan_measurements(space, references, QUICK)
    with machine() as device:
        fingerprint = fingerprint_of(device, plan, Backend())
        digest = hashlib.sha256(canonical_json(fingerprint).encode()).hexdigest()
        path = Path(cache_dir) / f"latency-{digest[:16]}.json"
        if path.exists():
            return LatencyTable.read(path)
        way_out = "name a latency table, or another folder of them"
        return build_table(device, plan, fingerprint, path, progress, way_out)
