"""``python -m search.rank -c configs/clutter/retrain.yaml --supernet CKPT``: is a search right?

Does the supernet rank networks as training each of them alone does? Random networks of several
bands of cost are trained from scratch with several seeds, and what scores them without that is
compared: the supernet, counts, a regression. Beside it stands the noise ceiling, how well one
training ranks as the mean of the other seeds does.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from search.evaluation.frozen_supernet import FrozenSupernet
from search.evaluation.trainings import Job, Trainer, Trainings, jobs_of
from search.objective.costs import cost_model
from search.rank.networks import (
    Candidate,
    Drawing,
    draw,
    draw_policy,
    features,
    free_scores,
    load_controller,
    ridge_scores,
    ridge_scores_of_others,
)
from search.rank.report import (
    Report,
    band_labels,
    draw_ranking,
    make_report,
    ridge_sizes,
    supernet_costs,
    training_costs,
    with_groups,
)
from search.rank.scores import named, score_rows, synflow_scores
from search.rank.statistics import Yardstick
from search.settings import Final
from supernet.command.arguments import Parser
from supernet.command.output import say
from supernet.cost.model import CostModel
from supernet.data.run_data import image_shape
from supernet.errors import UserError, check_range
from supernet.figure_style import save_figure
from supernet.files.writing import write_atomic
from supernet.space.mnasnet import MnasSpace, read_space
from supernet.training.config import read_training


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = Parser(prog="python -m search.rank", description=__doc__)
    add = parser.add_argument
    add("-c", "--config", type=Path, required=True, help="of a retraining: data, recipe, length")
    add("--supernet", type=Path, nargs="+", default=[], metavar="CKPT", help="of searches")
    add("--space", type=Path, metavar="YAML", help="to draw from, without a --supernet")
    add("--networks", type=int, default=60, help="how many to draw (60)")
    add("--seed", type=int, default=0, help="of the drawn networks: another seed, others (0)")
    add("--seeds", type=int, default=3, help="trainings of each network (3)")
    add("--steps", type=int, help="of a training, instead of the config's")
    add("--bands", type=int, default=3, help="of cost: equally wide, equally many networks (3)")
    add("--cost", choices=("ms", "macs", "params"), default="ms", help="what the bands are of (ms)")
    add("--table", metavar="JSON", help="latency table instead of measuring this machine")
    add("--table_cache", default="runs/tables", help="where measured tables are kept")
    add(
        "--ridge",
        type=int,
        nargs="*",
        default=[10, 30],
        metavar="N",
        help="trainings that a ridge regression is fitted to (10 30)",
    )
    add(
        "--policy",
        type=int,
        default=0,
        metavar="N",
        help="also rank N networks that the controller of each supernet proposes (0)",
    )
    add(
        "--tuning",
        type=int,
        nargs="*",
        default=[Final().tuning_steps],
        metavar="STEPS",
        help="judge slices of supernets after so much training of their own, too (40)",
    )
    add("--short", type=float, default=0.1, help="length of a short training, 0 for none (0.1)")
    add("--processes", type=int, default=1, help="trainings at a time, of one thread each (1)")
    add("--cache", type=Path, default=Path("runs/standalone.jsonl"), help="of finished trainings")
    add("--run", type=Path, default=Path("runs/rank"), help="folder for rank.json and rank.png")
    options = parser.parse_args(arguments)
    _check(options)
    return options


def _check(options: argparse.Namespace) -> None:
    check_range("--", options, "networks", least=4)
    check_range("--", options, "seed", least=0)
    check_range("--", options, "seeds", "bands", "processes", "steps", least=1)
    check_range("--", options, "short", least=0, below=1)
    if options.networks < 2 * options.bands:
        raise UserError(
            f"--networks is {options.networks}, too few for {options.bands} bands of at least 2"
        )
    if options.policy and (options.policy < 4 or not options.supernet):
        raise UserError(
            f"--policy is {options.policy}, it must be at least 4, and needs a --supernet, whose"
            " controller proposes them"
        )
    if any(steps < 1 for steps in options.tuning):
        raise UserError(f"--tuning is {min(options.tuning)}, it must be at least 1 step")
    if any(number < 3 for number in options.ridge):
        raise UserError(f"--ridge is {min(options.ridge)}, it must be at least 3 trainings")
    if bool(options.supernet) == bool(options.space):
        raise UserError("give the --supernet to judge, or the --space to draw from, and not both")


class Ranking:
    """One comparison, from the command line's options to its report."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Read everything and draw the networks, before anything long begins."""
        self.options = options
        training = read_training(options.config)
        self.trainer = Trainer(training)
        self.num_steps = options.steps or self.trainer.num_steps
        images = Final().recalibration_images
        self.supernets = [FrozenSupernet(path, self.trainer, images) for path in options.supernet]
        self.space = self._space()
        model = cost_model(options.cost, self.space, options.table, options.table_cache)
        self.drawing: Drawing = draw(
            self.space, model, options.networks, options.bands, options.seed
        )
        self.proposed = self._proposed(model) if options.policy else {}
        self.trainings = Trainings(training, options.cache, options.processes)

    @property
    def candidates(self) -> list[Candidate]:
        """The networks to rank, random ones first."""
        drawings = [self.drawing, *self.proposed.values()]
        return [one for drawing in drawings for one in drawing.candidates]

    def _proposed(self, model: CostModel) -> dict[str, Drawing]:
        """What the controller of each supernet proposes, by the name of the group."""
        return {
            f"policy of {name}": draw_policy(
                load_controller(judge.checkpoint, self.space),
                self.space,
                model,
                self.options.policy,
                self.options.seed,
            )
            for name, judge in named(self.supernets).items()
        }

    def _space(self) -> MnasSpace:
        """The supernets' space, or the file's at the shape of the data."""
        if self.options.space:
            classes, resolution, stride = image_shape(self.trainer.data)
            return dataclasses.replace(
                read_space(self.options.space),
                classes=classes,
                resolution=resolution,
                stem_stride=stride,
            )
        first = self.supernets[0]
        for other in self.supernets[1:]:
            if other.space != first.space:
                raise UserError(
                    f"{other.checkpoint} has another space than {first.checkpoint}: rank them apart"
                )
        return first.space

    def jobs(self, candidates: Sequence[Candidate]) -> list[Job]:
        """The trainings that networks are ranked by."""
        return jobs_of([one.spec for one in candidates], range(self.options.seeds), self.num_steps)

    def report(self) -> Report:
        """Train what is missing, score, compare, and draw."""
        self.trainings.rows(self.jobs(self.candidates))
        rows = self.trainings.rows(self.jobs(self.drawing.candidates))
        yardstick, work = (
            self._yardstick(self.drawing),
            np.mean([row["image_macs"] for row in rows]),
        )
        costs = {name: one.image_macs for name, one in named(self.supernets).items()}
        ridges = ridge_sizes(self.options.ridge, costs, float(work))
        scores = self._scores(self.drawing) | self._ridges(yardstick, ridges)
        report = make_report(yardstick, scores, self.drawing, self.options.cost)
        report.facts.append(training_costs(rows))
        report.facts.extend(supernet_costs(costs, float(work)))
        self._draw(yardstick, scores)
        groups = {
            name: self._proposed_report(one, yardstick.runs) for name, one in self.proposed.items()
        }
        return with_groups(report, groups)

    def _yardstick(self, drawing: Drawing) -> Yardstick:
        rows = self.trainings.rows(self.jobs(drawing.candidates))
        runs = np.array([row["test"] for row in rows])
        return Yardstick(
            runs.reshape(self.options.seeds, len(drawing.candidates)).T,
            bands=np.array([one.band for one in drawing.candidates]),
            costs=np.array([one.cost for one in drawing.candidates]),
        )

    def _proposed_report(self, drawing: Drawing, runs: np.ndarray) -> Report:
        """How networks of a controller are ranked, by a ridge on all the random ones too."""
        inputs, others = (features(self.space, one.candidates) for one in (self.drawing, drawing))
        ridge = {f"ridge on {len(runs)} trainings": ridge_scores_of_others(inputs, runs, others)}
        scores = self._scores(drawing) | ridge
        return make_report(self._yardstick(drawing), scores, drawing, self.options.cost)

    def _scores(self, drawing: Drawing) -> dict[str, np.ndarray]:
        """Scores by name that know no training of full length, the supernets' first."""
        options, candidates = self.options, drawing.candidates
        path = options.cache.with_name(f"{options.cache.stem}-scores.jsonl")
        scores = score_rows(self.supernets, candidates, path, options.tuning)
        scores |= free_scores(candidates, options.cost)
        path = options.cache.with_name(f"{options.cache.stem}-zero-cost.jsonl")
        scores["synflow"] = synflow_scores(candidates, path)
        if options.short:
            scores[f"training of {options.short:.0%} length"] = self._short_runs(candidates)
        return scores

    def _ridges(self, yardstick: Yardstick, sizes: Sequence[int]) -> dict[str, np.ndarray]:
        """Scores by regressions on trainings of some of the networks."""
        scores, inputs = {}, features(self.space, self.drawing.candidates)
        for number in sizes:
            # Half of the networks at least must be left to be ranked.
            if 2 * number <= len(inputs):
                scores[f"ridge on {number} trainings"] = ridge_scores(
                    inputs, yardstick.runs, number
                )
            else:
                say(f"no ridge on {number} trainings: it takes {2 * number} networks")
        return scores

    def _short_runs(self, candidates: Sequence[Candidate]) -> np.ndarray:
        """Validation accuracy of a short training with a seed of its own, (N,)."""
        specs = [one.spec for one in candidates]
        steps = max(1, round(self.options.short * self.num_steps))
        rows = self.trainings.rows(jobs_of(specs, [self.options.seeds], steps))
        return np.array([row["val"] for row in rows])

    def _draw(self, yardstick: Yardstick, scores: dict[str, np.ndarray]) -> None:
        # What a search chooses by, if that is known; else the first: supernets stand before counts.
        name = next((one for one in scores if ", tuned for" in one), next(iter(scores)))
        tau = yardstick.estimate(yardstick.tau, scores[name])
        unit = self.options.cost
        labels = [f"{label} {unit}" for label in band_labels(self.drawing, unit)]
        note = f"tau {tau.value:.2f} [{tau.low:.2f}, {tau.high:.2f}]"
        self.options.run.mkdir(parents=True, exist_ok=True)
        figure = draw_ranking(yardstick, scores[name], name, labels, note)
        save_figure(figure, self.options.run / "rank.png")


def main(arguments: Sequence[str] | None = None) -> None:
    """Rank networks and say how well their scores do it."""
    options = parse(arguments)
    torch.set_num_threads(1)
    ranking = Ranking(options)
    jobs = ranking.jobs(ranking.candidates)
    say(
        f"{len(ranking.candidates)} networks, {len(jobs)} trainings of {ranking.num_steps} steps,"
        f" kept in {options.cache}"
    )
    report = ranking.report()
    content = {"options": {k: str(v) for k, v in vars(options).items()}, **report.plain()}
    write_atomic(options.run / "rank.json", (json.dumps(content, indent=2) + "\n").encode())
    for line in report.lines():
        say(line)
