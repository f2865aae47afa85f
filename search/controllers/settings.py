"""The controllers that a config names."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from search.controllers.controller import Controller
from search.controllers.cost_gradient import CostGradient, DifferentiableCost
from search.controllers.evolution import Evolution, RegularisedEvolution
from search.controllers.policy import IndependentPolicy, LstmPolicy
from search.controllers.policy_gradient import PolicyGradient
from search.controllers.ppo_and_reinforce import PPO, Reinforce, Tunas
from search.controllers.random_search import RandomSearch
from supernet.errors import UserError

Kind = Literal["ppo", "reinforce", "tunas", "cost_gradient", "evolution", "random"]


@dataclass(frozen=True)
class ControllerSettings:
    """Who proposes architectures, for one target or for several.

    * ``ppo``: an LSTM that learns by PPO (MnasNet).
    * ``reinforce``: the same LSTM, by REINFORCE (ENAS).
    * ``tunas``: independent categoricals, by REINFORCE (TuNAS).
    * ``cost_gradient``: the same, with the exact gradient of the expected cost.
    * ``evolution``: regularised evolution (AmoebaNet).
    * ``random``: uniform sampling, which keeps what scored best.
    """

    kind: Kind = "ppo"
    """Which of them; the sections below hold the settings of each."""
    ppo: PPO = field(default_factory=PPO)
    reinforce: Reinforce = field(default_factory=Reinforce)
    tunas: Tunas = field(default_factory=Tunas)
    cost_gradient: DifferentiableCost = field(default_factory=DifferentiableCost)
    evolution: Evolution = field(default_factory=Evolution)

    def build(
        self, decision_sizes: Sequence[int], samples: int, keep: int, targets: int = 1
    ) -> Controller:
        """The controller for a space.

        Args:
            decision_sizes: ``MnasSpace.decision_sizes``.
            samples: Architectures per update and process.
            keep: How many architectures one without a policy remembers for each final choice.
            targets: How many targets it learns to hit.

        Raises:
            UserError: when an update has too few samples.
        """
        if samples < targets:
            raise UserError(
                f"an update has {samples} samples per process for {targets} targets: raise"
                " sampling.samples, or give fewer targets"
            )
        if self.kind == "random":
            return RandomSearch(decision_sizes, keep, targets)
        if self.kind == "evolution":
            return RegularisedEvolution(decision_sizes, self.evolution, keep, targets)
        if self.kind == "cost_gradient":
            return CostGradient(decision_sizes, self.cost_gradient, targets)
        if self.kind == "tunas":
            independent = IndependentPolicy(decision_sizes, targets)
            return PolicyGradient(independent, self.tunas, targets)
        if self.kind == "ppo" and samples < self.ppo.minibatches:
            raise UserError(
                f"ppo.minibatches is {self.ppo.minibatches}, but an update has {samples} samples"
                " per process: lower it or raise sampling.samples"
            )
        settings = self.ppo if self.kind == "ppo" else self.reinforce
        policy = LstmPolicy(decision_sizes, targets=targets)
        return PolicyGradient(policy, settings, targets)
