"""What W&B keeps of a run beside its rows: the whole config, and files with what they came of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from supernet.arch_records import package_versions
from supernet.data.run_data import RunData
from supernet.files.reading import parse_yaml
from supernet.network.checkpoint import file_sha256
from supernet.report.report import REPORT
from supernet.tracking.metrics import wandb_runs


class ConfigRecord(pl.Callback):
    """Tells W&B what config.yaml holds, versions, the data's digest, and what settings became.

    A module's ``identity`` is the latter: the space with the data's values, the target in its unit,
    the network that is trained.
    """

    def __init__(self, config: str) -> None:
        """``config`` is the text of config.yaml."""
        self.config = config

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell it, once the data and the device are known."""
        if not trainer.is_global_zero:
            return
        told = {**parse_yaml(self.config), "versions": dict(package_versions())}
        told["identity"] = pl_module.identity
        data = getattr(trainer, "datamodule", None)
        if isinstance(data, RunData):
            told["data_digest"] = data.description.digest
        for run in wandb_runs(trainer):
            run.config.update(told, allow_val_change=True)


def log_file(run: Any, kind: str, path: Path, **about: Any) -> None:
    """Keep a file that a run has made, with what is said about it."""
    log_files(run, kind, [path], **about)


def log_files(run: Any, kind: str, paths: Sequence[Path], **about: Any) -> None:
    """Keep files and folders that a run has made; the first one's content names them all."""
    artifact = _empty(kind, file_sha256(paths[0]), about)
    for path in paths:
        # File by file, as W&B prints a line of its own for each folder.
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                artifact.add_file(str(file), name=file.relative_to(path.parent).as_posix())
    run.log_artifact(artifact)


def log_report(run: Any, folder: Path) -> None:
    """Keep the report of a run's folder, if one was written."""
    if (folder / REPORT).exists():
        log_file(run, "report", folder / REPORT)


def use_file(run: Any, kind: str, path: Path, digest: str = "") -> None:
    """Note a file that a run begins with, and join it to the run that made it.

    W&B joins runs where it is online. Offline it cannot, so that the run's config tells the file
    and the artifact's name, in either case.
    """
    artifact = _empty(kind, digest or file_sha256(path), {})
    artifact.add_file(str(path), name=path.name)
    # With a digest of its own it is a copy, whose path tells nothing.
    told = {"file": path.name if digest else str(path), "artifact": artifact.name}
    known = run.config.get("made_of") or {}
    run.config.update({"made_of": {**known, kind: told}}, allow_val_change=True)
    if not run.offline:
        run.use_artifact(artifact)


def _empty(kind: str, digest: str, about: dict[str, Any]) -> Any:
    """An artifact named by kind and content, so that two runs which hold a file mean the same."""
    import wandb

    return wandb.Artifact(f"{kind}-{digest[:12]}", type=kind, metadata=about)
