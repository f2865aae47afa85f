"""Found networks against random ones of the same cost, all trained from scratch.

For each choice R random networks are trained with one seed, which also picks the best of them by
its validation accuracy. Then that one and the choice are trained with fresh seeds, so that the pick
gains nothing from luck. Test accuracies are reported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from search.evaluation.estimates import Mean
from search.evaluation.jobs import Row
from search.evaluation.trainings import Trainings, jobs_of
from search.monitoring.compute import Spent
from supernet.cost.counts import Cost, count
from supernet.cost.model import CostModel
from supernet.errors import UserError
from supernet.space.arch import Arch
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec

COST_DISTANCE = 0.05
"""Relative distance in cost within which random networks count as alike."""
DRAWS_PER_NETWORK = 1000
"""Architectures to look at for each random network before none is held to be alike."""
PICK = 0
"""Seed of the trainings that pick the best random network; the fresh ones follow."""


@dataclass(frozen=True)
class Choice:
    """A network that was found."""

    group: str
    """What found it: a controller, or searches; choices of a group are pooled."""
    name: str
    """Which search of the group."""
    number: int
    """Seed of its random networks."""
    space: MnasSpace
    arch: Arch
    """Canonical."""
    model: CostModel
    spent: Spent | None
    """Compute of its search; None if that does not say."""

    @property
    def spec(self) -> NetSpec:
        """The network."""
        return self.space.spec(self.arch)

    @property
    def cost(self) -> float:
        """Predicted."""
        return self.model.predict(self.spec)

    @property
    def count(self) -> Cost:
        """Parameters and multiply-accumulates."""
        return count(self.spec)


def random_alike(choice: Choice, num: int) -> list[NetSpec]:
    """Distinct uniform random networks within ``COST_DISTANCE`` of a choice's cost, other than it.

    Choices of one space and number draw from one sequence, so that those of similar cost share
    networks, and their trainings.

    Raises:
        UserError: when the space has too few.
    """
    space, cost = choice.space, choice.cost
    others = space.distinct(
        islice(space.samples(choice.number), DRAWS_PER_NETWORK * num), [choice.spec]
    )
    alike = (
        spec for _, spec in others if abs(choice.model.predict(spec) / cost - 1) <= COST_DISTANCE
    )
    found = list(islice(alike, num))
    if len(found) < num:
        raise UserError(
            f"only {len(found)} of {num} random networks found within {COST_DISTANCE:.0%} of the"
            f" {cost:.4g} {choice.model.unit} of {choice.name}: ask for fewer by --random"
        )
    return found


@dataclass(frozen=True)
class ChoiceResult:
    """Test accuracies of a choice and of the random networks of its cost."""

    choice: Choice
    random: Sequence[float]
    """(R,) of the random networks, with the seed that picks."""
    found: Sequence[float]
    """(S,) of the choice, with fresh seeds."""
    best: Sequence[float]
    """(S,) of the best random network, with the same seeds."""
    training: Row
    """A training of the choice, for what it takes."""

    @property
    def less_mean(self) -> Mean:
        """How much better the choice is than a random network: by Welch, of two sets of means."""
        return Mean.of(self.found) - Mean.of(self.random)

    @property
    def less_best(self) -> Mean:
        """How much better than the best random one, paired by seed."""
        return Mean.of([one - two for one, two in zip(self.found, self.best, strict=True)])

    @property
    def trainings_spent(self) -> Mapping[str, float]:
        """What its search cost in trainings of the choice: by images x MACs, and by CPU time."""
        spent = self.choice.spent
        if spent is None:
            return {}
        paid = {"by MACs": spent.image_macs, "by seconds": spent.cpu_seconds}
        one = {"by MACs": self.training["image_macs"], "by seconds": self.training["cpu_seconds"]}
        # A training of hardly any steps takes 0.00 s.
        return {how: cost / one[how] for how, cost in paid.items() if cost is not None and one[how]}

    def plain(self) -> Row:
        """All that was measured, for JSON."""
        choice = self.choice
        return {
            "group": choice.group,
            "choice": choice.name,
            "arch": choice.space.encode(choice.arch),
            "cost": choice.cost,
            "unit": choice.model.unit,
            "params": choice.count.params,
            "macs": choice.count.macs,
            "found": self.found,
            "random": self.random,
            "best_random": self.best,
            "search_in_trainings": self.trainings_spent,
        }


def retrain_choices(
    choices: Sequence[Choice], trainings: Trainings, num_random: int, fresh: int, num_steps: int
) -> list[ChoiceResult]:
    """Train what is missing and compare.

    Args:
        choices: what was found.
        trainings: by the recipe to compare by.
        num_random: R, random networks for each choice.
        fresh: S, trainings of each choice and of each best random network.
        num_steps: length of a training.
    """
    alike = [random_alike(choice, num_random) for choice in choices]
    picking = _rows(trainings, alike, [PICK], num_steps)
    best = [_best(specs, rows) for specs, rows in zip(alike, picking, strict=True)]
    seeds = range(PICK + 1, PICK + 1 + fresh)
    finalists = [[choice.spec, spec] for choice, spec in zip(choices, best, strict=True)]
    final = _rows(trainings, finalists, seeds, num_steps)
    return [
        ChoiceResult(
            choice,
            random=[row["test"] for row in picked],
            found=[row["test"] for row in rows[::2]],
            best=[row["test"] for row in rows[1::2]],
            training=rows[0],
        )
        for choice, picked, rows in zip(choices, picking, final, strict=True)
    ]


def _rows(
    trainings: Trainings, groups: Sequence[Sequence[NetSpec]], seeds: Sequence[int], num_steps: int
) -> list[list[Row]]:
    """The trainings of each group: all its networks with the first seed, then with the next."""
    # All at once first, so that no process waits for the end of a group.
    trainings.rows(jobs_of(list(chain.from_iterable(groups)), seeds, num_steps))
    return [trainings.rows(jobs_of(group, seeds, num_steps)) for group in groups]


def _best(specs: Sequence[NetSpec], rows: Sequence[Row]) -> NetSpec:
    """The most accurate on the validation images; of equals the one of lower loss there."""
    ranked = sorted(range(len(specs)), key=lambda i: (-rows[i]["val"], rows[i]["val_loss"]))
    return specs[ranked[0]]
