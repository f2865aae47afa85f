"""What a search writes into its run folder and logs to W&B."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.loggers import WandbLogger
from rich.console import Console

from search.bn_probe import BatchNormProbe, final_accuracies
from search.finish import Candidate, Judge, choose, draft, draw, front, shortlist
from search.health import Health
from search.module import SearchModule
from search.plots import draw_run
from search.spending import Spending
from supernet.archfile import ArchFile, write_arch, write_atomic
from supernet.latency import measure_specs
from supernet.metrics import CsvRows, MetricsCsv
from supernet.progress import ProgressLines


def search_callbacks(folder: Path) -> list[pl.Callback]:
    """The callbacks of a search in a run folder."""
    health = Health()
    spending = Spending(health)
    # Health counts a step before a checkpoint of it is saved.
    return [
        health,
        spending,
        BatchNormProbe(),
        SampleLog(folder),
        UniformCheckpoint(folder),
        Results(folder, spending),
    ]


class SampleLog(pl.Callback):
    """samples.csv: what rank 0's architectures scored, one row each."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is the run folder."""
        self.path = folder / "samples.csv"
        self.rows: CsvRows | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget rows past the checkpoint."""
        if trainer.is_global_zero:
            self.rows = CsvRows(self.path)
            self.rows.cut(cast(SearchModule, pl_module).steps_done - 1)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        *_: Any,
    ) -> None:
        """Add the samples of this step."""
        if self.rows and isinstance(pl_module, SearchModule):
            for accuracy, cost, reward in pl_module.scored:
                values = {"accuracy": accuracy, "cost": cost, "reward": reward}
                self.rows.append(pl_module.steps_done - 1, values)


class UniformCheckpoint(pl.Callback):
    """checkpoints/uniform.ckpt: the supernet as the controller takes over, for measuring it."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is the run folder."""
        self.path = folder / "checkpoints" / "uniform.ckpt"

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        *_: Any,
    ) -> None:
        """Save once, at the first step under the policy."""
        if pl_module.policy_started_now:
            trainer.save_checkpoint(self.path, weights_only=False)


class Results(pl.Callback):
    """After the last step: the choice, its file, the front, the figures, W&B and the summary."""

    def __init__(self, folder: Path, spending: Spending) -> None:
        """``folder`` is the run folder; ``spending`` is told what the end costs."""
        self.folder, self.spending = folder, spending

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Runs after fit, and again when a finished fit is continued."""
        module = cast(SearchModule, pl_module)
        judged = self._judge(module)
        if not trainer.is_global_zero:
            return
        best = choose(judged, module.target)
        write_arch(self.folder / "arch.json", arch_file(module, best))
        self._write("pareto.json", pareto(module, judged, best))
        figures = draw_run(self.folder)
        self.spending.spent.write(self.folder / "cost.json")
        self._write("measured.json", self._measure(module, judged))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                self._log_to_wandb(logger.experiment, figures)
        self._summary(module, best)

    def _judge(self, module: SearchModule) -> list[Candidate]:
        final = module.final
        drafted = draft(module, draw(module, final.samples))
        listed = shortlist(drafted, module.target, final.candidates)
        judge = Judge(module, self.folder, final.recalibration_images)
        share = len(listed[module.global_rank :: module.trainer.world_size])
        with ProgressLines(shown=module.trainer.is_global_zero) as bar:
            task = bar.add_task("judge", total=share, status="recalibrated, on validation images")
            judged = judge(listed, lambda: bar.update(task, advance=1))
        self._log(module, final_accuracies(drafted, judged))
        self._count(module, drafted, len(module.data.reward_batch(0, 0)[1]))
        self._count(module, judged, final.recalibration_images + module.data.num_val)
        return judged

    def _count(self, module: SearchModule, scored: list[Candidate], images: int) -> None:
        archs = [module.space.decode(one.code) for one in scored]
        self.spending.score(module.space, archs, images)

    def _log(self, module: SearchModule, values: dict[str, float]) -> None:
        for logger in module.loggers:
            if isinstance(logger, MetricsCsv) and module.trainer.is_global_zero:
                logger.experiment.cut(module.steps_done - 1)  # what this stage wrote before
            logger.log_metrics(values, step=module.steps_done)

    def _write(self, name: str, content: Any) -> None:
        write_atomic(self.folder / name, (json.dumps(content, indent=1) + "\n").encode())

    def _measure(self, module: SearchModule, judged: Sequence[Candidate]) -> dict[str, Any]:
        """Time the best few networks within the target on this machine."""
        within = [one for one in judged if one.cost <= module.target]
        best = sorted(within, key=lambda c: (-c.accuracy, c.cost, c.code))[: module.final.measured]
        specs = [module.space.spec(module.space.decode(one.code)) for one in best]
        times = measure_specs(specs) if specs else []
        return {
            "unit": module.cost_unit,
            "networks": [
                {"arch": one.code, "predicted": one.cost, "measured_ms": ms}
                for one, ms in zip(best, times, strict=True)
            ],
        }

    def _log_to_wandb(self, run: Any, figures: Sequence[Path]) -> None:
        import wandb

        run.log({f"figures/{path.stem}": wandb.Image(str(path)) for path in figures})
        points = json.loads((self.folder / "pareto.json").read_text())["points"]
        table = wandb.Table(columns=["cost", "accuracy", "chosen", "arch"])
        for point in points:
            code = " ".join(map(str, point["arch"]))
            table.add_data(point["cost"], point["accuracy"], point["chosen"], code)
        run.log({"pareto": table})
        artifact = wandb.Artifact(f"arch-{run.id}", type="architecture")
        artifact.add_file(str(self.folder / "arch.json"))
        run.log_artifact(artifact)

    def _summary(self, module: SearchModule, best: Candidate) -> None:
        measured = json.loads((self.folder / "measured.json").read_text())["networks"]
        console = Console(file=sys.stdout, soft_wrap=True)
        unit = module.cost_unit
        console.print(
            f"\nchosen: {best.cost:.4g} {unit} predicted, target {module.target:.4g} {unit}"
        )
        if measured:
            console.print(f"measured on this machine: {measured[0]['measured_ms']:.4g} ms")
        console.print(f"supernet accuracy on validation images: {best.accuracy:.3f}")
        console.print(f"architecture: {self.folder / 'arch.json'}")
        console.print(f"figures: {self.folder / 'figures'}")


def arch_file(module: SearchModule, best: Candidate) -> ArchFile:
    """What arch.json holds of the choice."""
    return ArchFile(
        space=module.space,
        arch=module.space.decode(best.code),
        predicted=best.cost,
        unit=module.cost_unit,
        table=module.cost_model.hash,
        device=module.cost_model.device,
        accuracy=best.accuracy,
        reward=module.reward(best.accuracy, best.cost, module.target),
        target=module.target,
        seed=module.seed,
        step=module.steps_done,
    )


def pareto(module: SearchModule, judged: list[Candidate], best: Candidate) -> dict[str, Any]:
    """What pareto.json holds: the judged networks that no other one beats, and the choice."""
    points = [*front(judged)]
    if best not in points:
        points = sorted([*points, best], key=lambda c: c.cost)
    return {
        "unit": module.cost_unit,
        "target": module.target,
        "points": [
            {
                "cost": one.cost,
                "accuracy": one.accuracy,
                "arch": list(one.code),
                "chosen": one == best,
            }
            for one in points
        ],
    }
