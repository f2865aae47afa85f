"""``mnasnet rank -c configs/clutter/retrain.yaml --supernet CKPT``: is a search right?

Does the supernet rank networks as training each of them alone does? Random networks of several
bands of cost are trained from scratch with several seeds, and what scores them without that is
compared: the supernet, counts, a regression. Beside it stands the noise ceiling, how well one
training ranks as the mean of the other seeds does.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from search.evaluation.estimates import Report
from search.evaluation.frozen_supernet import load_supernets
from search.evaluation.jobs import other_commits
from search.evaluation.options import add_training_options, training_of
from search.evaluation.trainings import Job, TrainingRunner, Trainings, jobs_of, read_space_for
from search.objective.costs import cost_model
from search.rank.networks import (
    BandNetwork,
    NetworkGroup,
    load_controller,
    policy_group,
    uniform_group,
)
from search.rank.report import (
    band_labels,
    chosen_by,
    draw_ranking,
    make_report,
    network_rows,
    ridge_sizes,
    supernet_costs,
    training_costs,
    with_groups,
)
from search.rank.scores import (
    choice_features,
    count_features,
    free_scores,
    named,
    ridge_scores,
    ridge_scores_of_others,
    supernet_scores,
    synflow_scores,
)
from search.rank.statistics import Yardstick
from search.settings import BESIDE_SLICES, Final
from supernet.command.arguments import Parser, config_path
from supernet.command.output import say
from supernet.cost.model import CostModel
from supernet.display.figures import save_figure
from supernet.errors import UserError, check_range
from supernet.files.locking import locked
from supernet.files.writing import write_json
from supernet.report.report import report_after
from supernet.run.folder import make_folder


def ranking_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = Parser(prog="python -m search.rank", description=__doc__)
    add_training_options(parser)
    add = parser.add_argument
    add(
        "--space", type=config_path, metavar="YAML", help="space to draw from, without a --supernet"
    )
    add("--networks", type=int, default=60, help="networks to draw (60)")
    add("--seed", type=int, default=0, help="seed of the drawn networks (0)")
    add("--seeds", type=int, default=3, help="trainings of each network (3)")
    add(
        "--bands",
        type=int,
        default=3,
        help="bands of cost, equally wide, of equally many networks (3)",
    )
    add("--cost", choices=("ms", "macs", "params"), default="ms", help="what the bands are of (ms)")
    add("--table", metavar="JSON", help="latency table instead of measuring this machine")
    add("--table_cache", default="runs/tables", help="folder in which measured tables are kept")
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
        default=[BESIDE_SLICES],
        metavar="STEPS",
        help="judge slices of supernets after so much training of their own, too (40)",
    )
    add("--short", type=float, default=0.1, help="length of a short training, 0 for none (0.1)")
    told = "folder for rank.json, rank.png and report.html"
    add("--run", type=Path, default=Path("runs/rank"), help=told)
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
    check_range("--", options, "tuning", least=1)
    check_range("--", options, "ridge", least=3)
    if bool(options.supernet) == bool(options.space):
        raise UserError("give the --supernet to judge, or the --space to draw from, and not both")


class Ranking:
    """One comparison, from the command line's options to its report."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Read everything and draw the networks, before anything long begins."""
        self.options = options
        training = training_of(options)
        runner = TrainingRunner(training)
        say(runner.first_line)
        self.num_steps = options.steps or runner.num_steps
        images = Final().recalibration_images
        self.supernets = load_supernets(options.supernet, runner, images, "rank them apart")
        self.space = (
            read_space_for(options.space, runner.data) if options.space else self.supernets[0].space
        )
        model = cost_model(options.cost, self.space, options.table, options.table_cache)
        self.uniform = uniform_group(
            self.space, model, options.networks, options.bands, options.seed
        )
        self.proposed = self._proposed(model) if options.policy else {}
        self.trainings = Trainings(training, options.cache, options.processes, options.cluster)
        self.rows: dict[str, list[dict[str, Any]]] = {}
        """Trainings and scores of each network, by the name of its group, once reported."""

    def _proposed(self, model: CostModel) -> dict[str, NetworkGroup]:
        """What the controller of each supernet proposes, by the name of the group."""
        num, seed = self.options.policy, self.options.seed
        groups = {}
        for name, supernet in named(self.supernets).items():
            controller = load_controller(supernet.checkpoint, self.space)
            groups[f"policy of {name}"] = policy_group(controller, self.space, model, num, seed)
        return groups

    @property
    def networks(self) -> list[BandNetwork]:
        """The networks to rank, uniform ones first."""
        return [one for group in (self.uniform, *self.proposed.values()) for one in group.networks]

    def jobs(self, networks: Sequence[BandNetwork]) -> list[Job]:
        """The trainings that networks are ranked by."""
        return jobs_of([one.spec for one in networks], range(self.options.seeds), self.num_steps)

    def report(self) -> Report:
        """Train what is missing, score, compare, and draw."""
        self.trainings.rows(self.jobs(self.networks))
        rows = self.trainings.rows(self.jobs(self.uniform.networks))
        work = float(np.mean([row["image_macs"] for row in rows]))
        costs = {
            name: one.spent.image_macs if one.spent else None
            for name, one in named(self.supernets).items()
        }
        yardstick = self._yardstick(self.uniform)
        sizes = ridge_sizes(self.options.ridge, costs, work)
        scores = self._scores(self.uniform) | self._ridges(yardstick, sizes)
        report = make_report(yardstick, scores, self.uniform, self.options.cost)
        report.facts.extend([training_costs(rows), *supernet_costs(costs, work)])
        report.facts.extend(filter(None, [other_commits(rows)]))
        self._draw(yardstick, scores)
        self.rows["uniform"] = network_rows(self.uniform, yardstick, scores)
        return with_groups(
            report,
            {
                name: self._proposed_report(name, group, yardstick)
                for name, group in self.proposed.items()
            },
        )

    def _yardstick(self, group: NetworkGroup) -> Yardstick:
        rows = self.trainings.rows(self.jobs(group.networks))
        runs = np.array([row["test"] for row in rows])
        return Yardstick(
            runs.reshape(self.options.seeds, len(group.networks)).T,
            bands=np.array([one.band for one in group.networks]),
            costs=np.array([one.cost for one in group.networks]),
        )

    def _proposed_report(self, name: str, group: NetworkGroup, uniform: Yardstick) -> Report:
        """How networks of a controller are ranked, by a ridge on all the uniform ones too."""
        scores, known = self._scores(group), len(self.uniform.networks)
        ours, theirs = (self._features(one.networks) for one in (self.uniform, group))
        for kind, inputs in ours.items():
            ridge = ridge_scores_of_others(inputs, uniform.runs, theirs[kind])
            scores[f"{kind} on {known} trainings"] = ridge
        yardstick = self._yardstick(group)
        self.rows[name] = network_rows(group, yardstick, scores)
        return make_report(yardstick, scores, group, self.options.cost)

    def _features(self, networks: Sequence[BandNetwork]) -> dict[str, np.ndarray]:
        """Features (N, F) by the name of the regression on them."""
        return {
            "ridge": choice_features(self.space, networks),
            "counts ridge": count_features(networks),
        }

    def _scores(self, group: NetworkGroup) -> dict[str, np.ndarray]:
        """Scores by name that know no training of full length, the supernets' first."""
        options, networks = self.options, group.networks
        scored, synflow = (
            options.cache.with_name(f"{options.cache.stem}-{what}.jsonl")
            for what in ("scores", "zero-cost")
        )
        scores = supernet_scores(self.supernets, networks, scored, options.tuning)
        scores |= free_scores(networks, options.cost)
        scores["synflow"] = synflow_scores(networks, synflow)
        if options.short:
            scores[f"training of {options.short:.0%} length"] = self._short_runs(networks)
        return scores

    def _ridges(self, yardstick: Yardstick, sizes: Sequence[int]) -> dict[str, np.ndarray]:
        """Scores by regressions on trainings of some of the networks."""
        scores, features = {}, self._features(self.uniform.networks)
        for size in sizes:
            # Half of the networks at least must be left to be ranked.
            if 2 * size <= len(yardstick.runs):
                for name, inputs in features.items():
                    ridge = ridge_scores(inputs, yardstick.runs, size)
                    scores[f"{name} on {size} trainings"] = ridge
            else:
                say(f"no ridge on {size} trainings: it takes {2 * size} networks")
        return scores

    def _short_runs(self, networks: Sequence[BandNetwork]) -> np.ndarray:
        """Validation accuracy of a short training with a seed of its own, (N,)."""
        specs = [one.spec for one in networks]
        steps = max(1, round(self.options.short * self.num_steps))
        rows = self.trainings.rows(jobs_of(specs, [self.options.seeds], steps))
        return np.array([row["val"] for row in rows])

    def _draw(self, yardstick: Yardstick, scores: dict[str, np.ndarray]) -> None:
        name = chosen_by(scores)
        tau = yardstick.estimate(yardstick.tau, scores[name])
        unit = self.options.cost
        labels = [f"{label} {unit}" for label in band_labels(self.uniform, unit)]
        note = f"tau {tau.value:.2f} [{tau.low:.2f}, {tau.high:.2f}]"
        figure = draw_ranking(yardstick, scores[name], name, labels, note)
        save_figure(figure, self.options.run / "rank.png")


def main(arguments: Sequence[str] | None = None) -> None:
    """Rank networks and say how well their scores do it."""
    options = ranking_options(arguments)
    torch.set_num_threads(1)
    ranking = Ranking(options)
    make_folder(options.run)
    with locked(options.run):
        _rank(ranking)


def _rank(ranking: Ranking) -> None:
    options, networks = ranking.options, ranking.networks
    say(
        f"{len(networks)} networks, {len(ranking.jobs(networks))} trainings of"
        f" {ranking.num_steps} steps, kept in {options.cache}"
    )
    report = ranking.report()
    plain = report.plain(options, networks=ranking.rows)
    write_json(options.run / "rank.json", plain, indent=2)
    report_after(options.run, say)
    report.print()
