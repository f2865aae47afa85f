"""The end of a search: from the controller to one network for each target, just below it.

The controller's finalists, and their neighbours that hit a target, are scored by their slices of
the supernet. The best of those that hit, and the best trade-offs among all, are extracted, tuned
for a few steps, their batch norms recalibrated, and judged on the whole validation split. This can
be killed and repeated: judged candidates are kept in the run folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, distributed
from torch.nn import functional

from search.controller_step import make_generator
from search.module import SearchModule
from search.objective.block_costs import BlockCosts, BlockExcess
from search.objective.targets import Target, nearest_within
from search.selection.local_search import NearTarget
from search.settings import WeightOptimizer
from supernet.data.splits import Batch
from supernet.network.network import Network, recalibrate
from supernet.space.arch import Arch
from supernet.training.standalone import Evaluation, evaluate

Code = tuple[int, ...]


@dataclass(frozen=True)
class Candidate:
    """A network that may be chosen."""

    code: Code
    """Canonical indices of the architecture."""
    cost: float
    """Predicted, in the target's unit."""
    accuracy: float
    """First the slice's score on a reward batch, at last the accuracy on the validation split."""
    score: float | None = None
    """What else it is preferred by, on the validation split. At the end of a search it is the
    probability of the right class, which ranks better than accuracy (docs/search-quality.md)."""

    @property
    def worth(self) -> float:
        """What it is preferred by."""
        return self.accuracy if self.score is None else self.score


def draw(module: SearchModule, num: int) -> list[Code]:
    """Distinct canonical codes: for each target finalists, and as many networks that hit it.

    All keep the constraints. The nearest one below a target makes sure that something hits it.
    """
    space, codes, objective = module.space, dict[Code, None](), module.objective
    costs, limits = BlockCosts(space, objective.cost_model), objective.constraints
    missed = BlockExcess(space, limits)
    for number, target in enumerate(objective.targets):
        generator = make_generator("final", module.seed, number)
        finalists = module.controller.finalists(num, generator, number).cpu()
        near = NearTarget(costs, target, _preferences(module, number), missed)
        hits = near.find(finalists, num, generator)[:num]
        nearest, _ = nearest_within(space, objective.cost_model, target.cost, limits)
        rows = torch.cat([finalists, hits])
        archs = [space.decode(row) for row in rows[missed.of(rows) == 0].tolist()]
        codes |= dict.fromkeys(space.encode(space.canonical(one)) for one in [*archs, nearest])
    return list(codes)


def _preferences(module: SearchModule, target: int) -> Callable[[Tensor], Tensor]:
    def preferences(rows: Tensor) -> Tensor:
        return module.controller.preferences(rows.to(module.device), target).cpu()

    return preferences


def draft(module: SearchModule, codes: list[Code]) -> list[Candidate]:
    """Score codes by their slices of the supernet on one reward batch, shared among ranks."""
    rank, world = module.global_rank, module.trainer.world_size
    batch = module.data.reward_batch(0, 0)
    mine = codes[rank::world]
    archs = [module.space.decode(code) for code in mine]
    scores = module.slice_scores(archs, batch).tolist() if archs else []
    scored = [
        Candidate(code, module.objective.cost_model.predict(module.space.spec(arch)), score)
        for code, arch, score in zip(mine, archs, scores, strict=True)
    ]
    return _gather(scored, codes)


def shortlist(candidates: list[Candidate], targets: Sequence[Target], num: int) -> list[Candidate]:
    """The candidates worth judging.

    Half of ``num`` places for each target go to the best slices that hit it, since one of them
    will be chosen; another half to the front of non-dominated ones, which is also reported, and to
    what else scores well.
    """
    ranked = sorted(candidates, key=_preference)
    half = (num + 1) // 2
    hits = [one for target in targets for one in best_hits(candidates, target, half)]
    places = num + (len(targets) - 1) * half
    return list(dict.fromkeys([*hits, *front(candidates), *ranked]))[:places]


def best_hits(candidates: list[Candidate], target: Target, num: int) -> list[Candidate]:
    """The ``num`` best candidates that hit a target; of equals the cheaper first."""
    hits = (one for one in candidates if target.is_hit_by(one.cost))
    return sorted(hits, key=_preference)[:num]


def front(candidates: list[Candidate]) -> list[Candidate]:
    """The candidates that no other one beats in both cost and accuracy, cheapest first."""
    best, kept = -1.0, []
    for candidate in sorted(candidates, key=lambda c: (c.cost, -c.accuracy, c.code)):
        if candidate.accuracy > best:
            kept.append(candidate)
            best = candidate.accuracy
    return kept


def _preference(candidate: Candidate) -> tuple[float, float, Code]:
    return -candidate.worth, candidate.cost, candidate.code


class Judge:
    """Judges candidates on the validation split, remembering those that a killed run has judged."""

    def __init__(self, module: SearchModule, folder: Path) -> None:
        """Load what this rank has judged before with the same weights and settings."""
        self.module, final = module, module.final
        self.images, self.tuning = final.recalibration_images, final.tuning_steps
        self.conditions = {
            "step": module.steps_done,
            "shared": _fingerprint(module),
            "images": self.images,
            "tuning": self.tuning,
        }
        self.path = folder / f"judged-rank{module.global_rank}.jsonl"
        self.known = self._load()

    def _load(self) -> dict[Code, tuple[float, float]]:
        if not self.path.exists():
            return {}
        known = {}
        for line in self.path.read_text().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:  # the line during which the process was killed
                continue
            if row | self.conditions == row:
                known[tuple(row["code"])] = row["accuracy"], row["probability"]
        return known

    def __call__(self, candidates: list[Candidate], advance: Callable[[], None]) -> list[Candidate]:
        """The candidates with accuracy and probability of their networks; ranks share the work."""
        rank, world = self.module.global_rank, self.module.trainer.world_size
        judged = []
        for candidate in candidates[rank::world]:
            if candidate.code not in self.known:
                self._remember(candidate.code, self._evaluate(candidate.code))
            judged.append(Candidate(candidate.code, candidate.cost, *self.known[candidate.code]))
            advance()
        return _gather(judged, [candidate.code for candidate in candidates])

    def _remember(self, code: Code, found: Evaluation) -> None:
        self.known[code] = found.accuracy, found.probability
        with self.path.open("a") as file:
            row = {**self.conditions, "code": code, **found._asdict()}
            # A line that was cut short must not swallow this one.
            file.write("\n" * (file.tell() > 0) + json.dumps(row))

    def _evaluate(self, code: Code) -> Evaluation:
        arch, batches = self.module.space.decode(code), self.module.data.val_batches()
        return evaluate_recalibrated(self.module, arch, self.images, batches, self.tuning)


def _fingerprint(module: SearchModule) -> str:
    """A short name of the shared weights, and of how networks cut from them are tuned."""
    how = (module.weights, module.data.weights_batch_size, module.trainer.precision)
    digest = hashlib.sha256(repr(how).encode())
    for tensor in module.supernet.state_dict().values():
        digest.update(tensor.cpu().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def evaluate_recalibrated(
    module: SearchModule, arch: Arch, images: int, batches: Iterable[Batch], tuning: int = 0
) -> Evaluation:
    """What an extracted network is worth, with batch statistics of its own.

    Args:
        module: whose supernet.
        arch: what to extract.
        images: training images that give the statistics.
        batches: what to judge on, in host memory.
        tuning: steps that it is trained for before, in full precision.
    """
    network = module.supernet.extract(arch).to(memory_format=module.memory_format)
    tune(network, map(module.moved, module.data.endless_weights_batches()), module.weights, tuning)
    with module.trainer.precision_plugin.forward_context():
        calibrating = (module.moved(batch)[0] for batch in module.data.weights_batches(images))
        recalibrate(network, calibrating)
        return evaluate(network, map(module.moved, batches))


def _gather(mine: list[Candidate], order: list[Code]) -> list[Candidate]:
    """All ranks' candidates in the order of ``order``, on every rank."""
    parts = [mine]
    if distributed.is_available() and distributed.is_initialized():
        parts = [[] for _ in range(distributed.get_world_size())]
        distributed.all_gather_object(parts, mine)
    by_code = {candidate.code: candidate for part in parts for candidate in part}
    return [by_code[code] for code in order]


@torch.enable_grad()
def tune(
    network: Network, batches: Iterable[tuple[Tensor, Tensor]], weights: WeightOptimizer, steps: int
) -> None:
    """Train all weights of a network; the learning rate falls linearly to 0.

    Its running statistics are stale afterwards: ``recalibrate`` it.

    Args:
        network: extracted from the supernet.
        batches: at least ``steps`` of images (B, 3, R, R) and labels (B,), on the network's device
            and in its memory format.
        weights: the optimizer of the shared weights, which starts afresh here.
        steps: 0 leaves the network as it is.
    """
    network.train()
    for step, (images, labels) in enumerate(islice(batches, steps)):
        if step == 0:
            optimizer = weights.optimizer(network, len(labels))
        for group in optimizer.param_groups:
            group["lr"] = group["largest_lr"] * (1 - step / steps)
        loss = functional.cross_entropy(
            network(images), labels, label_smoothing=weights.label_smoothing
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), weights.max_grad_norm)
        optimizer.step()
