"""Policies: distributions over architectures that can be sampled, weighed and trained."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from search.controllers.controller import Proposals

NEVER = -1e9
"""Logit of a value that a decision lacks: finite, as 0 * -inf would make the entropy NaN."""
AT_ONCE = 256
"""Architectures that are drawn together: what a step computes of them fits into a core's cache."""


@dataclass(frozen=True)
class Samples(Proposals):
    """Architectures that a policy drew, and what it thought of them at that time.

    Log-probabilities and entropies in nats, of each decision given those before it. Decisions
    count as sampled: duplicates of one network are not merged.
    """

    log_prob: Tensor
    """(M, D) of the decisions taken."""
    entropy: Tensor
    """(M, D) of the distributions that they were drawn from."""


class Policy(nn.Module, ABC):
    """Distributions over architectures of D decisions with at most V values, one for each target.

    ``indices`` are (M, D) int64 architectures and ``targets`` the (M,) numbers of their targets,
    the first by default. Log-probabilities and entropies are in nats. Autocast does not touch it:
    the ratios of PPO are differences of log-probabilities, which bfloat16 would round away.

    Args:
        decision_sizes: Number of values of each of the D decisions, ``MnasSpace.decision_sizes``.
    """

    exists: Tensor
    """(D, V) bool: whether a decision has a value."""

    def __init__(self, decision_sizes: Sequence[int]) -> None:
        super().__init__()
        sizes = torch.tensor(decision_sizes)
        exists = torch.arange(int(sizes.max())) < sizes[:, None]
        self.register_buffer("exists", exists, persistent=False)

    @torch.no_grad()
    def sample(
        self, num: int, generator: torch.Generator, targets: Tensor | None = None
    ) -> Samples:
        """Draw ``num`` architectures; the generator may live on another device than the policy."""
        noise = torch.empty(num, *self.exists.shape, device=generator.device)
        numbers = self._numbers(num, targets)
        drawn, log_softmax = self._roll_out(noise.exponential_(generator=generator), numbers)
        return Samples(drawn, numbers, *_log_prob_and_entropy(log_softmax, drawn))

    @torch.no_grad()
    def greedy(self, target: int = 0) -> Tensor:
        """(D,) indices: at each decision the likeliest value, given those before it."""
        noise = torch.ones(1, *self.exists.shape)
        return self._roll_out(noise, self._numbers(1) + target)[0][0]

    def evaluate(self, indices: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Log-probability of each decision and entropy of its distribution, (M, D) each."""
        return _log_prob_and_entropy(self.log_softmax(indices, targets), indices)

    @abstractmethod
    def log_softmax(self, indices: Tensor, targets: Tensor | None = None) -> Tensor:
        """(M, D, V): log-probability of each value, given the decisions before it in ``indices``.

        Differentiable.
        """

    @abstractmethod
    def _roll_out(self, noise: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Indices (M, D) and the log-probabilities (M, D, V) that they were drawn by.

        p / noise is largest for value v with probability p(v), if ``noise`` (M, D, V) is of
        independent exponential variables; a constant takes the likeliest.
        """

    def _numbers(self, num: int, targets: Tensor | None = None) -> Tensor:
        if targets is None:
            return torch.zeros(num, dtype=torch.long, device=self.exists.device)
        return targets.to(self.exists.device)


class LstmPolicy(Policy):
    """The policy of MnasNet (sec. 4.2), which is that of NASNet (Zoph et al. 2018, appendix).

    A one-layer LSTM of 100 units, weights from uniform(-0.1, 0.1), which makes the start nearly
    uniform. Its input is an embedding of the decision before, or of a start token. Each decision
    has embeddings and a head of its own: what suits the first block says little of the last one,
    and a bias of its own lets a decision settle within a few hundred samples.

    Several targets share all of this. Each has an embedding that is added to the input of every
    step; added to the start token alone it is forgotten on the way (docs/targets.md).
    """

    first_token: Tensor
    """(D,) int64: where the embeddings of each decision's values begin."""

    def __init__(self, decision_sizes: Sequence[int], hidden: int = 100, targets: int = 1) -> None:
        super().__init__(decision_sizes)
        sizes = torch.tensor(decision_sizes)
        self.embedding = nn.Embedding(1 + int(sizes[:-1].sum()), hidden)
        self.lstm = nn.LSTM(hidden, hidden)
        self.head_weight = nn.Parameter(torch.empty(*self.exists.shape, hidden))
        self.head_bias = nn.Parameter(torch.empty(self.exists.shape))
        self.target = nn.Embedding(targets, hidden) if targets > 1 else None
        self.register_buffer("first_token", 1 + sizes.cumsum(0) - sizes, persistent=False)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)

    def log_softmax(self, indices: Tensor, targets: Tensor | None = None) -> Tensor:
        """Log-probabilities (M, D, V), see ``Policy``, in one pass (teacher forcing)."""
        with self._full_precision():
            tokens = functional.pad(indices[:, :-1] + self.first_token[:-1], (1, 0))
            inputs = self.embedding(tokens.t())
            if self.target is not None:
                inputs = inputs + self.target(self._numbers(len(indices), targets))
            return self._distributions(self.lstm(inputs)[0])

    def _roll_out(self, noise: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        with self._full_precision():
            gates = self._gates_of_tokens()
            targets = torch.zeros_like(targets) if self.target is None else targets
            parts = zip(noise.to(gates).split(AT_ONCE), targets.split(AT_ONCE), strict=True)
            rolled = [self._roll_out_part(gates, *part) for part in parts]
        indices, log_softmax = zip(*rolled, strict=True)
        return torch.cat(indices), torch.cat(log_softmax)

    def _gates_of_tokens(self) -> Tensor:
        """(K, tokens, 4 hidden): what each token adds to the gates under each target."""
        inputs = self.embedding.weight[None]
        inputs = inputs if self.target is None else inputs + self.target.weight[:, None]
        weights, _, bias, more = self.lstm.all_weights[0]
        return functional.linear(inputs, weights, bias + more)

    def _roll_out_part(
        self, gates_of_tokens: Tensor, noise: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        # log(p / noise), but for a number that the values of a decision share.
        luck = noise.log()
        biases = self.head_bias.masked_fill(~self.exists, NEVER)
        hidden = cell = noise.new_zeros(len(noise), self.lstm.hidden_size)
        token, indices, outputs = torch.zeros_like(targets), [], []
        for decision, first in enumerate(self.first_token.unbind()):
            hidden, cell = self._step(gates_of_tokens[targets, token], hidden, cell)
            logits = torch.addmm(biases[decision], hidden, self.head_weight[decision].t())
            index = (logits - luck[:, decision]).argmax(dim=1)
            token = index + first
            indices.append(index)
            outputs.append(hidden)
        return torch.stack(indices, dim=1), self._distributions(torch.stack(outputs))

    def _step(self, gates: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """States (M, hidden) after a step; for one, ``nn.LSTM`` takes several times as long."""
        gates.addmm_(hidden, self.lstm.all_weights[0][1].t())
        inner, forget, new, outer = gates.chunk(4, dim=1)
        cell = (forget.sigmoid_() * cell).addcmul_(inner.sigmoid_(), new.tanh_())
        return outer.sigmoid_() * cell.tanh(), cell

    def _distributions(self, outputs: Tensor) -> Tensor:
        """(M, D, V) of the LSTM's outputs (D, M, hidden) at all decisions."""
        logits = torch.baddbmm(self.head_bias[:, None], outputs, self.head_weight.transpose(1, 2))
        return logits.masked_fill(~self.exists[:, None], NEVER).log_softmax(-1).transpose(0, 1)

    def _full_precision(self) -> torch.autocast:
        return torch.autocast(self.head_bias.device.type, enabled=False)


class IndependentPolicy(Policy):
    """One categorical per decision and target, uniform at the start (TuNAS, sec. 4.1)."""

    def __init__(self, decision_sizes: Sequence[int], targets: int = 1) -> None:
        super().__init__(decision_sizes)
        self.logits = nn.Parameter(torch.zeros(targets, *self.exists.shape))

    @property
    def log_probabilities(self) -> Tensor:
        """(K, D, V) of every value of every decision for every target, differentiable."""
        return self.logits.masked_fill(~self.exists, NEVER).log_softmax(-1)

    def log_softmax(self, indices: Tensor, targets: Tensor | None = None) -> Tensor:
        """Log-probabilities (M, D, V), see ``Policy``, which depend on no index."""
        return self.log_probabilities[self._numbers(len(indices), targets)]

    def _roll_out(self, noise: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        log_softmax = self.log_probabilities[targets]
        return (log_softmax.exp() / noise.to(log_softmax)).argmax(-1), log_softmax


def _log_prob_and_entropy(log_softmax: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of the chosen values and entropy in nats, each (M, D), from (M, D, V)."""
    log_prob = log_softmax.gather(-1, indices[..., None]).squeeze(-1)
    return log_prob, -(log_softmax.exp() * log_softmax).sum(-1)
