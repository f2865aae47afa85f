"""After a search's last step: its choices, their times, files and figures, and the summary."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

import pytorch_lightning as pl
from rich.console import Console

from search.callbacks import cut_metrics, searching
from search.evaluation.workers import load_once
from search.figures import draw_run
from search.module import SearchModule
from search.monitoring.alarms import Alarm
from search.monitoring.compute import FORWARD_PASSES, Spending
from search.monitoring.health import report_alarms
from search.objective.targets import Target, file_names
from search.selection.device_times import DeviceTimes
from search.selection.record import record_findings
from search.selection.selection import (
    Candidate,
    best_hits,
    draft,
    final_codes,
    front,
    judge,
    shortlist,
)
from search.settings import update_steps
from search.surrogate.alarms import surrogate_alarms
from search.surrogate.findings import log_round, summary_lines, write_surrogate
from search.surrogate.gain import Gain, gain_of_choice
from search.surrogate.rounds import Rounds
from search.surrogate.tunings import Tunings, tuning_processes
from supernet.arch_file import ArchFile, read_arch, write_arch
from supernet.arch_records import NOT_LEARNED, Chance, ConstraintUse, package_versions
from supernet.errors import UserError
from supernet.files.writing import write_json
from supernet.latency.table.table import LatencyTable
from supernet.run.folder import CONTINUE, last_checkpoint
from supernet.tracking.metrics import log_metrics, wandb_runs


class Results(pl.Callback):
    """Chooses a network for each target, and writes, measures and reports what was found."""

    def __init__(self, folder: Path, spending: Spending) -> None:
        """``folder`` is the run folder; ``spending`` is told what the end costs."""
        self.folder, self.spending = folder, spending

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Load what tunes networks beside this process while weights are trained."""
        if tuning_processes(searching(pl_module)) > 1:
            load_once()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Runs after fit, and again when a finished fit is continued."""
        module = searching(pl_module)
        refuse_unlearned(module)
        self.keep_checkpoint(trainer)
        module.to(trainer.strategy.root_device)  # Lightning has taken it off the device by now
        rounds = self._run_rounds(module) if module.learns_from_tunings else None
        judged = finalists(module, rounds) if rounds else self._judge(module)
        module.cpu()
        if not trainer.is_global_zero:
            return
        found = Findings(module, judged, self.folder, rounds)
        # Before anything is measured: whoever stops the search now still has its choices.
        found.write_archs()
        found.write_pareto()
        found.write_surrogate()
        figures = self.draw()
        self.spending.spent.write(self.folder / "cost.json")
        found.measure()
        found.write_archs()
        for run in wandb_runs(trainer):
            model = found.objective.cost_model
            record_findings(run, self.folder, found.files, figures, model)
        found.print_summary()
        report_alarms(trainer, found.alarms(), "end")

    def keep_checkpoint(self, trainer: pl.Trainer) -> None:
        """Leave something to go on from where no weights are shared, and so none were saved."""
        path = last_checkpoint(self.folder)
        if not trainer.strategy.broadcast(path.exists()):
            trainer.save_checkpoint(path, weights_only=False)

    def draw(self) -> list[Path]:
        """Draw the figures; their files."""
        return draw_run(self.folder)

    def rounds(self, module: SearchModule) -> Rounds:
        """What tunes networks to choose from, where the search learns from tunings."""
        return Rounds(module, Tunings(module, self.folder, self.spending))

    def _run_rounds(self, module: SearchModule) -> Rounds:
        module.controller.cpu()  # one of a few networks at a time: an accelerator would only wait
        rounds = self.rounds(module)
        rounds.after_fit = log_round
        with rounds.tunings.together():
            rounds.run()
        accuracy = fmean(one.accuracy for one in finalists(module, rounds))
        log_metrics(
            module.trainer,
            {"final/recalibrated_accuracy": accuracy},
            module.steps_done + rounds.updates,
        )
        return rounds

    def _judge(self, module: SearchModule) -> list[Candidate]:
        final = module.final
        drafted = draft(module, final_codes(module, final.samples))
        listed = shortlist(drafted, module.objective.targets, final.num)
        judged = judge(module, listed, self.folder)
        cut_metrics(module)  # what this stage wrote before
        log_metrics(module.trainer, final_accuracies(drafted, judged), module.steps_done)
        self._count(module, drafted, len(module.data.reward_batch(0, 0)[1]))
        tuning = FORWARD_PASSES * module.lengths.final * module.data.weights_batch_size
        self._count(module, judged, tuning + final.recalibration_images + module.data.num_val)
        return judged

    def _count(self, module: SearchModule, scored: list[Candidate], images: int) -> None:
        archs = [module.space.decode(one.code) for one in scored]
        self.spending.score(module.space, archs, images)


def finalists(module: SearchModule, rounds: Rounds) -> list[Candidate]:
    """What the rounds have tuned to choose from, each once."""
    model, space = module.objective.cost_model, module.space
    found = {
        one.tuning.code: Candidate(
            one.tuning.code,
            model.predict(space.spec(space.decode(one.tuning.code))),
            one.tuning.val_accuracy,
            one.quality,
            one.tuning.int8_accuracy,
        )
        for one in rounds.finalists
    }
    return list(found.values())


def final_accuracies(drafted: Sequence[Candidate], judged: Sequence[Candidate]) -> dict[str, float]:
    """Mean accuracies of the judged candidates on one reward batch, and on the validation split.

    Args:
        drafted: with scores on batch statistics.
        judged: some of them, with accuracies of their recalibrated networks.
    """
    before = {one.code: one.accuracy for one in drafted}
    return {
        "final/batch_accuracy": fmean(before[one.code] for one in judged),
        "final/recalibrated_accuracy": fmean(one.accuracy for one in judged),
    }


def refuse_unlearned(module: SearchModule) -> None:
    """Choose nothing for a controller that trainer.max_time has left without an update.

    Raises:
        UserError: saying how far the search has come.
    """
    total, done, first = module.total_steps, module.steps_done, module.shared_steps
    if not module.learns_from_tunings:
        first = update_steps(first, total, module.sampling.every)[0] + 1
    if done < first:
        raise UserError(
            f"the search ended after {done} of {total} steps, before its controller learned"
            f" anything: go on with {CONTINUE}, and a longer --trainer.max_time if that ended it"
        )


class Findings:
    """What a search found: the candidates that were judged, and a choice for each target."""

    def __init__(
        self,
        module: SearchModule,
        judged: list[Candidate],
        folder: Path,
        rounds: Rounds | None = None,
    ) -> None:
        """Choose; ``folder`` is the run folder, ``rounds`` are those of a search by tunings."""
        self.module, self.judged, self.folder, self.rounds = module, judged, folder, rounds
        self.objective, targets = module.objective, module.objective.targets
        self.choices = [best_hits(judged, target, 1)[0] for target in targets]
        self.times = DeviceTimes(module, folder / "measured.json")
        names = file_names([target.name for target in targets], "arch", ".json")
        self.files = [folder / name for name in names]
        self.gains = self._gains(rounds) if rounds else {}

    def _gains(self, rounds: Rounds) -> dict[str, Gain]:
        """What each target's choice is expected to gain over a random network, by its name."""
        gains = {
            target.name: gain_of_choice(rounds, choice.code, number)
            for number, (choice, target) in enumerate(
                zip(self.choices, self.objective.targets, strict=True)
            )
        }
        return {name: gain for name, gain in gains.items() if gain}

    def write_surrogate(self) -> None:
        """Write surrogate.json, if there is a surrogate."""
        if self.rounds:
            chosen = [choice.code for choice in self.choices]
            write_surrogate(self.folder / "surrogate.json", self.rounds, self.gains, chosen)

    def measure(self) -> None:
        """Time the best few that hit each target."""
        num, targets = self.module.final.measured, self.objective.targets
        hits = [best_hits(self.judged, target, num) for target in targets]
        self.times.measure(list(dict.fromkeys(one for best in hits for one in best)))

    def write_archs(self) -> None:
        """Write the arch.json of each target."""
        rows = zip(self.files, self.choices, self.objective.targets, strict=True)
        for path, choice, target in rows:
            write_arch(path, self._arch_file(choice, target))

    def _arch_file(self, choice: Candidate, target: Target) -> ArchFile:
        module, model = self.module, self.objective.cost_model
        return ArchFile(
            space=module.space,
            arch=module.space.decode(choice.code),
            predicted=choice.cost,
            unit=model.unit,
            table=model.hash,
            device=model.device,
            accuracy=choice.accuracy,
            reward=self.objective.reward(choice.accuracy, choice.cost, target.cost),
            target=target.cost,
            seed=module.seed,
            step=module.steps_done,
            measured=self.times.of(choice),
            constraints=tuple(self._constraint_uses(choice)),
            chance=self._chance(choice),
            table_error=model.error if isinstance(model, LatencyTable) else None,
            versions=package_versions(),
            data=module.data.description,
        )

    def _chance(self, choice: Candidate) -> Chance:
        data = self.module.data
        return Chance.beside(choice.accuracy, data.majority_share, data.num_val)

    def alarms(self) -> list[Alarm]:
        """Of the rounds, and when a choice tells no more than the most frequent class would."""
        of_rounds = surrogate_alarms(self.rounds) if self.rounds else []
        unlearned = [one for one in self.choices if self._chance(one).alarm]
        return of_rounds + [
            Alarm(
                NOT_LEARNED,
                self._chance(one).words(one.accuracy),
                "look at images and labels, train longer (trainer.max_steps), or change"
                " model.weights.lr",
            )
            for one in unlearned[:1]
        ]

    def _constraint_uses(self, candidate: Candidate) -> list[ConstraintUse]:
        """What a network uses of each constraint."""
        spec = self.module.space.spec(self.module.space.decode(candidate.code))
        limits = [(one.value, one.costs.model) for one in self.objective.constraints]
        return [
            ConstraintUse(model.unit, value, model.predict(spec), model.hash, model.device)
            for value, model in limits
        ]

    def write_pareto(self) -> None:
        """Write pareto.json: the judged networks that no other one beats, and the choices.

        Each point names the targets for which it was chosen.
        """
        targets, limited = self.objective.targets, bool(self.objective.constraints)
        chosen_for: dict[Candidate, list[str]] = {}
        for choice, target in zip(self.choices, targets, strict=True):
            chosen_for.setdefault(choice, []).append(target.name)
        best = sorted({*front(self.judged), *self.choices}, key=lambda c: (c.cost, c.code))
        points = [
            {
                "cost": one.cost,
                "accuracy": one.accuracy,
                "arch": list(one.code),
                **({} if one.int8_accuracy is None else {"int8_accuracy": one.int8_accuracy}),
                "chosen": chosen_for.get(one, []),
                **(
                    {"constraints": list(map(asdict, self._constraint_uses(one)))}
                    if limited
                    else {}
                ),
            }
            for one in best
        ]
        costs = {target.name: target.cost for target in targets}
        content = {"unit": self.objective.cost_model.unit, "targets": costs, "points": points}
        write_json(self.folder / "pareto.json", content)

    def print_summary(self) -> None:
        """Print the choices, and where their files are."""
        console = Console(file=sys.stdout, soft_wrap=True, highlight=False, markup=False)
        steps, times = self.module.lengths.final, self.times.times
        tuned = f", tuned for {steps} steps" * (steps > 0)
        rows = zip(self.choices, self.files, self.objective.targets, strict=True)
        for choice, path, target in rows:
            found = read_arch(path)
            below = f"{1 - found.predicted / found.target:.1%} below"
            console.print(
                f"\nchosen: {found.predicted:.4g} {found.unit} predicted, {below} target"
                f" {found.target:.4g} {found.unit}"
            )
            if choice.code in times:
                beside = f", {found.measured.comparison}" if found.measured else ""
                where = "this machine" + " in int8" * (self.times.precision == "int8")
                console.print(f"measured on {where}: {times[choice.code]:.4g} ms{beside}")
            for kept in found.constraints:
                device = f" on {kept.device}" if kept.device else ""
                console.print(
                    f"{kept.cost}{device}: {kept.predicted:.4g}, at most {kept.limit:.4g} allowed"
                )
            console.print(
                f"{found.judged_as} accuracy on validation images{tuned}: {found.accuracy:.3f}"
            )
            if choice.int8_accuracy is not None:
                lost = 100 * (found.accuracy - choice.int8_accuracy)
                console.print(f"in int8: {choice.int8_accuracy:.3f}, {lost:.2f} points lost")
            if gain := self.gains.get(target.name):
                console.print(gain.words)
            console.print(f"architecture: {path}")
        if self.rounds:
            console.print("\n" + "\n".join(summary_lines(self.rounds)))
        console.print(f"figures: {self.folder / 'figures'}")
