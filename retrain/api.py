"""Training from Python: ``retrain(arch, data, run)`` trains and tests a network, from scratch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from retrain.cli import RetrainCLI, run_callbacks
from retrain.export.export import export as export_run
from retrain.export.quantization import Quantization
from retrain.module import RetrainModule
from supernet.network.checkpoint import load_network
from supernet.run.calls import Data, Settings, fit_words, run_words


@dataclass(frozen=True)
class Trained:
    """A trained network."""

    run: Path
    """Folder of the training: report.html, checkpoints, metrics, and all else that it wrote."""
    figures: dict[str, Any]
    """Content of test.json: ``accuracy`` and ``loss`` on the test images, ``images`` ..."""

    @property
    def checkpoint(self) -> Path:
        """The weights that validated best."""
        return self.run / "checkpoints" / "best.ckpt"

    def network(self) -> nn.Module:
        """The network in eval mode: images (N, 3, R, R), normalised, to logits (N, classes)."""
        return load_network(self.checkpoint)


def retrain(
    arch: str | Path,
    data: Data,
    run: str | Path,
    *,
    config: str | Path | None = "photos/retrain",
    settings: Settings | None = None,
) -> Trained:
    """Train a network from scratch and test it, in this process.

    A training that is there is continued, and one that has ended is tested again.

    Args:
        arch: an arch.json, or the name of a published network such as ``mnasnet_a1``.
        data: as of a search.
        run: folder of the training.
        config: a yaml file or a shipped config by its name; None for the settings alone.
        settings: any other option of the command by its name, ``{"trainer.max_epochs": 30}``.

    Raises:
        UserError: one line that says which value is wrong and what would do.

    Examples:
        >>> trained = retrain(found.file, "photos/", "runs/small")  # doctest: +SKIP
        >>> trained.figures["accuracy"]  # doctest: +SKIP
        0.93
    """
    given = {"model.arch": str(arch), **(settings or {})}
    words = run_words(config, run, data, given)
    _command(fit_words(words))
    folder = _command(["test", *words]).folder
    return Trained(folder, json.loads((folder / "test.json").read_text()))


def _command(words: list[str]) -> RetrainCLI:
    return RetrainCLI(RetrainModule, "retrain", run_callbacks, verbs=("fit", "test"), args=words)


def export(
    run: str | Path, *formats: str, quantize: Quantization | None = None
) -> dict[str, dict[str, Any]]:
    """Write a trained network as files for other runtimes, each checked against PyTorch.

    Args:
        run: folder of a training.
        formats: such as ``"onnx"``, ``"executorch"``; those that need no further package if none.
        quantize: how formats that have it are written in int8 too.

    Returns:
        What is known of each file by its format, as in export.json; ``failure`` is why one must
        not ship, or empty.

    Raises:
        UserError: for an unknown format, or when run or a package is missing.

    Examples:
        >>> export("runs/small", "onnx")["onnx"]["bytes"]  # doctest: +SKIP
        1745814
    """
    return export_run(Path(run), formats or None, quantization=quantize).entries
