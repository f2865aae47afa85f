"""Parts of a check: processes that run one after another, each within its time."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu_check.machine import AMOUNT, DEVICE, GPU, num_noise_workers
from benchmarks.gpu_check.rows import NAME, Rows, out_folder

SLACK = 1 if GPU else 4
"""Factor of all limits: CPUs are slow even at what little they are given."""
LEAST_S = 8.0
"""Time that is not worth starting a part for."""
STOPPED = 124
"""Exit status of a part that was stopped at its limit."""
GRACE_S = 5.0
"""From asking a process to end until it is killed."""


@dataclass(frozen=True)
class Part:
    """A process with a time limit."""

    name: str
    limit_s: float
    command: Sequence[str | Path]
    """What follows ``python -m``."""
    needs: str = ""
    """A part that must have run before."""
    table: Path | None = None
    """The latency table that it measures."""


def all_parts(work: Path) -> list[Part]:
    """All parts, most important first; runs lie in the folder ``work``, which goes afterwards."""
    images, tests = work / "images", ["pytest", "-m", "gpu", "-q", "-W", "ignore"]
    return [
        Part("env", 60, ["benchmarks.gpu_check.environment"]),
        Part("parity", 45, ["benchmarks.gpu_check.parity"]),
        Part("throughput", 80, ["benchmarks.gpu_check.throughput"]),
        Part("search_224", 50, _search_synthetic(work)),
        Part("retrain", 40, _retrain(work)),
        Part("memory", 35, ["benchmarks.gpu_check.memory"]),
        Part("images", 15, ["benchmarks.gpu_check.synthetic_images", images]),
        Part("reading", 25, ["benchmarks.gpu_check.reading", images], needs="images"),
        Part("compile", 75, ["benchmarks.gpu_check.retraining"]),
        Part("search_files", 35, _search_files(work, images), needs="images"),
        Part("search_digits", 30, _search_digits(work)),
        Part("pytest_gpu", 25, [*tests, "-p", "no:cacheprovider", *_gpu_tests()]),
        _latency_small(work / "small.json"),
        _latency_table(work / "latency_table.json"),
    ]


def select(parts: Sequence[Part], names: Sequence[str]) -> list[Part]:
    """Those of ``names`` and what they need, in order; all where none is named."""
    needed = {part.needs for part in parts if part.name in names}
    return [part for part in parts if not names or part.name in {*names, *needed}]


def run_parts(parts: Sequence[Part], limit_s: float) -> None:
    """Run parts until ``limit_s`` seconds have passed; what is left then is named and skipped."""
    # A part is a session of its own, which ends with this one only if this one cleans up.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    begin = time.monotonic()
    try:
        for part in parts:
            left = limit_s - (time.monotonic() - begin)
            if left < LEAST_S:
                print(f"--- {part.name}: skipped, no time is left", flush=True)
            else:
                print(f"--- {part.name} (at {limit_s - left:.0f} s)", flush=True)
                run_part(part, min(left, SLACK * part.limit_s))
    finally:
        signal.signal(signal.SIGTERM, before)
    print(f"=== {time.monotonic() - begin:.0f} s; rows and log in {out_folder()}")


def run_part(part: Part, limit_s: float) -> None:
    """Run a part within ``limit_s`` seconds and report how it ended."""
    # Two threads on a busy CPU wait for each other; a GPU's host needs them to decode images.
    threads = {} if GPU else {"OMP_NUM_THREADS": "1"}
    # One log of all: a lent machine may send few files back.
    log, start = out_folder() / f"{NAME}.log", time.monotonic()
    with log.open("ab") as file:
        file.write(f"--- {part.name}\n".encode())
        begin = file.tell()
        line = [sys.executable, "-m", *map(str, part.command)]
        file.flush()
        process = subprocess.Popen(
            line,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | threads,
            start_new_session=True,
        )
        try:
            status = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            status = STOPPED
        finally:
            _end_group(process)
    seconds = time.monotonic() - start
    lines = log.read_bytes()[begin:].decode(errors="replace").splitlines()
    figures, last = [one for one in lines if " | " in one], lines[-1:]
    print("\n".join([*figures, *last] if status else figures or last), flush=True)
    rows = Rows(part.name)
    if part.table:
        _add_table(rows, part.table)
    rows.add("seconds", seconds, "s")
    rows.add("exit status", status, "", "".join(last).strip() if status else "")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    with contextlib.suppress(ProcessLookupError):  # all have ended
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _add_table(rows: Rows, table: Path) -> None:
    """How far a table came: a build that was stopped has some of its rounds in a file."""
    raw = table.with_suffix(".raw.jsonl")
    lines = raw.read_text().splitlines() if raw.exists() else []
    rows.add("rounds measured", max(0, len(lines) - 1), "rounds")  # the first line names the table
    rows.add("table finished", int(table.exists()))
    if table.exists():
        shutil.copy(table, out_folder() / f"{rows.section}.json")


def _options(values: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


def _fit(num_steps: int, precision: bool) -> dict[str, object]:
    """Options of a run of ``num_steps`` steps; without ``precision``, of the config's."""
    given = {"trainer.precision": "bf16-mixed" if GPU else "32-true"} if precision else {}
    return {
        "trainer.accelerator": "gpu" if GPU else "cpu",
        "trainer.devices": 1,
        "trainer.max_epochs": -1,
        "trainer.max_steps": num_steps,
        "wandb.mode": "disabled",
        **given,
    }


def _probe(name: str, num_steps: int, num_counted: int = 10) -> dict[str, object]:
    """Options that count waits from the middle of a run of ``num_steps`` steps on."""
    return {
        "trainer.callbacks+": "benchmarks.gpu_check.sync_probe.SyncProbe",
        "trainer.callbacks.name": name,
        "trainer.callbacks.first": num_steps // 2,
        "trainer.callbacks.num_steps": num_counted,
    }


def _synthetic(batch: int, num_batches: int) -> dict[str, object]:
    return {
        "data": "benchmarks.gpu_check.synthetic_images.Synthetic",
        "data.resolution": AMOUNT.resolution,
        "data.batch_size": batch,
        "data.num_images": batch * num_batches,
        "data.num_workers": num_noise_workers(),
    }


SHARED = 2
"""Half of a search's steps trains shared weights, which the probe watches from the middle on, where
warm-up ends; the rest tunes the least networks that a search learns and chooses from."""
SHORT_SEARCH: dict[str, object] = {
    "model.cost": "macs",
    "model.schedule.share": 1 / SHARED,
    "model.schedule.warmup": 1 / 2,
    "model.surrogate.networks": 2,
    "model.surrogate.first": 2,
    "model.sampling.every": AMOUNT.update_every,
    "model.sampling.samples": AMOUNT.samples,
    "model.final.samples": 32,
    "model.final.candidates": 1,
    "model.final.measured": 0,
    "model.final.recalibration_images": 256,
}
LARGE_SEARCH: dict[str, object] = {
    **SHORT_SEARCH,
    **_fit(AMOUNT.run_steps // 2, precision=True),
    "model.target": "p50",
    "trainer.strategy": "auto",
}
"""As configs/imagefolder, which is for ImageNet, but of few steps."""


def _search_synthetic(work: Path) -> list[str]:
    options = LARGE_SEARCH | _synthetic(AMOUNT.run_batch, 100)
    options |= _probe("search_224", AMOUNT.run_steps // 2 // SHARED) | {"run": work / "search_224"}
    return ["search", "fit", "-c", "configs/imagefolder/search.yaml", *_options(options)]


def _retrain(work: Path) -> list[str]:
    num_steps = AMOUNT.run_steps // 3
    options = _fit(num_steps, precision=True) | _synthetic(2 * AMOUNT.run_batch, 100)
    options |= _probe("retrain", num_steps, min(20, num_steps // 2))
    options |= {"trainer.limit_val_batches": 1, "model.arch": "mnasnet_a1"}
    options |= {"run": work / "retrain"}
    return ["retrain", "fit", "-c", "configs/imagefolder/retrain.yaml", *_options(options)]


def _search_digits(work: Path) -> list[str]:
    options = SHORT_SEARCH | _fit(AMOUNT.run_steps, precision=False)
    options |= _probe("search_digits", AMOUNT.run_steps // SHARED) | {"run": work / "search_digits"}
    return ["search", "fit", "-c", "configs/digits/search.yaml", *_options(options)]


def _search_files(work: Path, images: Path) -> list[str]:
    options = LARGE_SEARCH | _probe("search_files", AMOUNT.run_steps // 2 // SHARED)
    options |= {
        "data.root": images,
        "data.resolution": AMOUNT.resolution,
        "data.batch_size": AMOUNT.run_batch,
        "data.num_workers": AMOUNT.num_workers,
        "model.sampling.images": min(32, AMOUNT.run_batch),
        "run": work / "search_files",
    }
    return ["search", "fit", "-c", "configs/imagefolder/search.yaml", *_options(options)]


def _gpu_tests() -> list[str]:
    """Files of tests that need CUDA: a bare machine may lack what others import."""
    return sorted(
        str(path) for path in Path("tests").rglob("test_*.py") if "mark.gpu" in path.read_text()
    )


def _build(table: Path, space: str, *others: str) -> list[str | Path]:
    backend = ["--backend", "torch", "--device", DEVICE.type, *others]
    return ["supernet.latency", "build", "--quick", "--space", space, "--out", table, *backend]


def _latency_small(table: Path) -> Part:
    space = "benchmarks/gpu_check/small_space.yaml"
    return Part("latency_small", 40, _build(table, space), table=table)


def _latency_table(table: Path) -> Part:
    others = ["--resolution", str(min(32, AMOUNT.resolution)), "--precision", "bf16"]
    command = _build(table, "configs/spaces/digits.yaml", *others)
    return Part("latency_table", 20 if GPU else 20 / SLACK, command, table=table)
