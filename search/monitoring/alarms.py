"""When a search needs its user: the policy has collapsed, an op is dead, the reward is constant."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor

from search.controllers.policy_gradient import RESOLUTION
from search.step import StepResult
from supernet.errors import UserError
from supernet.files.json_text import parse_json
from supernet.files.reading import read_text, typed_object
from supernet.files.writing import write_json

EARLY = 0.75
"""Share of the controller's updates before which its policy must not have settled."""
DECIDED = 0.05
"""Share of the largest entropy at which a policy has settled; searches of digits end near 0.8."""
CONSTANT_UPDATES = 3
"""Updates in a row in which every sample has the same reward."""
MISSED_USES = 20.0
"""Uses that a dead op has missed: a living one misses them with a probability of e ** -20."""
Stage = Literal["steps", "end"]
STAGES: tuple[Stage, ...] = ("steps", "end")
"""When an alarm is raised: in a step or an update, or by what the search has ended with."""


class Alarm(NamedTuple):
    """Thing that is wrong with a search."""

    cause: str
    """Name of the thing; each is reported once in a run."""
    seen: str
    """What is wrong, with its figures."""
    advice: str
    """What to do about it."""


class Alarms:
    """Looks at a search step by step; what it remembers goes into the checkpoint."""

    def __init__(self, controller: str) -> None:
        """Nothing is wrong yet; ``controller`` is the kind, whose settings an advice names."""
        self.controller = controller
        self.reported: list[str] = []
        self.used: dict[str, tuple[int, float]] = {}
        self.rewards: list[tuple[float, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"told": self.reported, "used": self.used, "rewards": self.rewards}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with what a checkpoint remembers."""
        self.reported, self.used, self.rewards = state["told"], state["used"], state["rewards"]

    def of_uses(self, uses: Mapping[str, int], due: Mapping[str, float]) -> list[Alarm]:
        """Ops that uniform sampling leaves out: their uses so far, and the mean that was due."""
        missed = {}
        for op, number in uses.items():
            known, since = self.used.get(op, (0, 0.0))
            if number > known:
                self.used[op] = number, due[op]
            else:
                missed[op] = due[op] - since
        return self._new(
            Alarm(
                f"op {op} unused",
                f"op {op} is dead: uniform sampling left it out where {number:.0f} uses were due",
                "look at model.space, and start anew",
            )
            for op, number in missed.items()
            if number > MISSED_USES
        )

    def of_gradients(self, norms: Mapping[str, float]) -> list[Alarm]:
        """Ops that do not learn; ``norms`` are those of the ops that this step used."""
        return self._new(
            Alarm(
                f"op {op} gradient",
                f"op {op} is dead: the gradient of its weights has norm {norm:g}",
                "lower model.weights.lr, or set trainer.precision 32, and start anew",
            )
            for op, norm in norms.items()
            if not 0 < norm < math.inf
        )

    def of_update(self, update: StepResult, entropy: float, largest: float) -> list[Alarm]:
        """A policy that has settled too early, and rewards that tell nothing apart.

        ``entropy`` is the policy's, in nats over all decisions; a uniform one has the ``largest``.
        """
        rows, progress = update.proposals.indices, update.update_step.progress
        alike = len(rows) > 1 and bool((rows == rows[0]).all())
        alarms = []
        if progress < EARLY and largest > 0 and (alike or entropy < DECIDED * largest):
            what = f"all {len(rows)} samples of an update are alike" if alike else "it has decided"
            section = f"model.controller.{self.controller}"
            evolves = self.controller == "evolution"
            alarm = Alarm(
                "policy collapsed",
                f"the policy has collapsed: {what}, entropy {entropy / largest:.1%} of the largest,"
                f" after {progress:.0%} of the controller's updates",
                f"raise {section}." + ("population" if evolves else "entropy or lower its lr"),
            )
            alarms.append(alarm)
        # Equal architectures have equal rewards: that is the collapse's doing.
        if not alike and self._is_constant(update.scores.reward):
            alarm = Alarm(
                "reward constant",
                f"the reward is constant: {self.rewards[-1][0]:.4g} for all samples of"
                f" {CONSTANT_UPDATES} updates, at a mean score of"
                f" {float(update.scores.accuracy.mean()):.1%}",
                "train longer (trainer.max_steps) if that is chance, else change model.target or"
                " model.reward",
            )
            alarms.append(alarm)
        return self._new(alarms)

    def _is_constant(self, reward: Tensor) -> bool:
        """Whether the rewards (M,) and those of the updates before are all alike."""
        self.rewards.append((float(reward.min()), float(reward.max())))
        self.rewards = self.rewards[-CONSTANT_UPDATES:]
        spread = max(high for _, high in self.rewards) - min(low for low, _ in self.rewards)
        return len(self.rewards) == CONSTANT_UPDATES and spread < RESOLUTION

    def _new(self, alarms: Iterable[Alarm]) -> list[Alarm]:
        """Those whose cause has not been reported; from now on it has."""
        new = [alarm for alarm in alarms if alarm.cause not in self.reported]
        self.reported += [alarm.cause for alarm in new]
        return new


def keep_alarms(folder: str | Path, alarms: Iterable[Alarm], stage: Stage) -> None:
    """Add alarms to ``alarms.json`` of a run; those of the end replace those of an earlier end.

    A step that is repeated after a kill raises its alarm again, which then stands there once.

    Raises:
        UserError: when the file is broken or cannot be written.
    """
    path = Path(folder) / "alarms.json"
    way_out = "move it away to go on without its alarms"
    try:
        text = read_text(path, way_out) if path.exists() else "{}"
        told = typed_object("the content", parse_json(text.encode()))
        kept = {stage: {one["cause"]: one for one in told.get(stage, [])} for stage in STAGES}
    except (UserError, KeyError, TypeError) as error:
        raise UserError(f"{path} is broken ({error}): {way_out}") from None
    new = {alarm.cause: alarm._asdict() for alarm in alarms}
    kept[stage] = new if stage == "end" else kept[stage] | new
    write_json(path, {stage: [*held.values()] for stage, held in kept.items()})
