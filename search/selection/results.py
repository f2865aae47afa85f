"""After a search's last step: its choices, their files, the front, the figures and the summary."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import WandbLogger
from rich.console import Console

from search.callbacks import searching
from search.figures import draw_run
from search.module import SearchModule
from search.monitoring.compute import FORWARD_PASSES, Spending
from search.objective.targets import Target, file_names
from search.selection.bn_probe import final_accuracies
from search.selection.device_times import DeviceTimes
from search.selection.selection import (
    Candidate,
    best_hits,
    draft,
    final_codes,
    front,
    judge,
    shortlist,
)
from supernet.arch_file import ArchFile, read_arch, write_arch
from supernet.arch_records import Kept
from supernet.files.writing import write_json
from supernet.latency.table.table import LatencyTable
from supernet.run.metrics import MetricsCsv, log_metrics


class Results(pl.Callback):
    """Chooses a network for each target, and writes, measures and tells what was found."""

    def __init__(self, folder: Path, spending: Spending) -> None:
        """``folder`` is the run folder; ``spending`` is told what the end costs."""
        self.folder, self.spending = folder, spending

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Runs after fit, and again when a finished fit is continued."""
        module = searching(pl_module)
        module.to(trainer.strategy.root_device)  # Lightning has taken it off the device by now
        judged = self._judge(module)
        module.cpu()
        if not trainer.is_global_zero:
            return
        choices = [best_hits(judged, target, 1)[0] for target in module.objective.targets]
        times = DeviceTimes(module, self.folder / "measured.json")
        # Before anything is measured: whoever stops the search now still has its choices.
        files = self._write_archs(module, choices, times)
        write_json(self.folder / "pareto.json", pareto(module, judged, choices))
        figures = draw_run(self.folder)
        self.spending.spent.write(self.folder / "cost.json")
        times.measure(_to_measure(module, judged))
        self._write_archs(module, choices, times)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                self._log_to_wandb(logger.experiment, figures, files)
        self._summary(module, choices, files, times)

    def _judge(self, module: SearchModule) -> list[Candidate]:
        final = module.final
        drafted = draft(module, final_codes(module, final.samples))
        listed = shortlist(drafted, module.objective.targets, final.candidates)
        judged = judge(module, listed, self.folder)
        self._log(module, final_accuracies(drafted, judged))
        self._count(module, drafted, len(module.data.reward_batch(0, 0)[1]))
        tuning = FORWARD_PASSES * final.tuning_steps * module.data.weights_batch_size
        self._count(module, judged, tuning + final.recalibration_images + module.data.num_val)
        return judged

    def _count(self, module: SearchModule, scored: list[Candidate], images: int) -> None:
        archs = [module.space.decode(one.code) for one in scored]
        self.spending.score(module.space, archs, images)

    def _log(self, module: SearchModule, values: dict[str, float]) -> None:
        for logger in module.trainer.loggers:
            if isinstance(logger, MetricsCsv) and module.trainer.is_global_zero:
                logger.experiment.cut(module.steps_done - 1)  # what this stage wrote before
        log_metrics(module.trainer, values, module.steps_done)

    def _write_archs(
        self, module: SearchModule, choices: Sequence[Candidate], times: DeviceTimes
    ) -> list[Path]:
        names = file_names([target.name for target in module.objective.targets], "arch", ".json")
        paths = [self.folder / name for name in names]
        for path, choice, target in zip(paths, choices, module.objective.targets, strict=True):
            write_arch(path, arch_file(module, choice, target, times))
        return paths

    def _log_to_wandb(self, run: Any, figures: Sequence[Path], files: Sequence[Path]) -> None:
        import wandb

        run.log({f"figures/{path.stem}": wandb.Image(str(path)) for path in figures})
        points = json.loads((self.folder / "pareto.json").read_text())["points"]
        table = wandb.Table(columns=["cost", "accuracy", "chosen", "arch"])
        for point in points:
            code = " ".join(map(str, point["arch"]))
            table.add_data(point["cost"], point["accuracy"], " ".join(point["chosen"]), code)
        run.log({"pareto": table})
        artifact = wandb.Artifact(f"arch-{run.id}", type="architecture")
        for path in files:
            artifact.add_file(str(path))
        run.log_artifact(artifact)

    def _summary(
        self,
        module: SearchModule,
        choices: Sequence[Candidate],
        files: Sequence[Path],
        times: DeviceTimes,
    ) -> None:
        console = Console(file=sys.stdout, soft_wrap=True, highlight=False, markup=False)
        for choice, path in zip(choices, files, strict=True):
            found = read_arch(path)
            below = f"{1 - found.predicted / found.target:.1%} below"
            console.print(
                f"\nchosen: {found.predicted:.4g} {found.unit} predicted, {below} target"
                f" {found.target:.4g} {found.unit}"
            )
            if choice.code in times.times:
                beside = f", {found.measured.comparison}" if found.measured else ""
                ms = times.times[choice.code]
                console.print(f"measured on this machine: {ms:.4g} ms{beside}")
            steps = module.final.tuning_steps
            tuned = f", tuned for {steps} steps" * (steps > 0)
            for kept in found.constraints:
                device = f" on {kept.device}" if kept.device else ""
                console.print(
                    f"{kept.cost}{device}: {kept.predicted:.4g}, at most {kept.limit:.4g} allowed"
                )
            console.print(f"supernet accuracy on validation images{tuned}: {found.accuracy:.3f}")
            console.print(f"architecture: {path}")
        console.print(f"figures: {self.folder / 'figures'}")


def _to_measure(module: SearchModule, judged: list[Candidate]) -> list[Candidate]:
    """The best few that hit each target."""
    hits = [best_hits(judged, target, module.final.measured) for target in module.objective.targets]
    return list(dict.fromkeys(one for best in hits for one in best))


def arch_file(
    module: SearchModule, choice: Candidate, target: Target, times: DeviceTimes
) -> ArchFile:
    """What arch.json holds of the choice for a target."""
    model = module.objective.cost_model
    return ArchFile(
        space=module.space,
        arch=module.space.decode(choice.code),
        predicted=choice.cost,
        unit=model.unit,
        table=model.hash,
        device=model.device,
        accuracy=choice.accuracy,
        reward=module.objective.reward(choice.accuracy, choice.cost, target.cost),
        target=target.cost,
        seed=module.seed,
        step=module.steps_done,
        measured=times.of(choice),
        constraints=tuple(_kept(module, choice)),
        table_error=model.error if isinstance(model, LatencyTable) else None,
    )


def _kept(module: SearchModule, candidate: Candidate) -> Iterator[Kept]:
    """What a network uses of each constraint."""
    spec = module.space.spec(module.space.decode(candidate.code))
    for one in module.objective.constraints:
        model = one.model
        yield Kept(model.unit, one.value, model.predict(spec), model.hash, model.device)


def pareto(
    module: SearchModule, judged: list[Candidate], choices: Sequence[Candidate]
) -> dict[str, Any]:
    """What pareto.json holds: the judged networks that no other one beats, and the choices.

    Each point names the targets for which it was chosen.
    """
    chosen_for: dict[Candidate, list[str]] = {}
    for choice, target in zip(choices, module.objective.targets, strict=True):
        chosen_for.setdefault(choice, []).append(target.name)
    points = sorted({*front(judged), *choices}, key=lambda c: (c.cost, c.code))
    limited = bool(module.objective.constraints)
    return {
        "unit": module.objective.cost_model.unit,
        "targets": {target.name: target.cost for target in module.objective.targets},
        "points": [
            {
                "cost": one.cost,
                "accuracy": one.accuracy,
                "arch": list(one.code),
                "chosen": chosen_for.get(one, []),
                **({"constraints": list(map(asdict, _kept(module, one)))} if limited else {}),
            }
            for one in points
        ],
    }
