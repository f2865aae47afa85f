"""The end of a search by slices: from the controller to one network for each target, just below it.

The controller's finalists, and their neighbours that hit a target, are scored by their slices of
the supernet. The best of those that hit, and the best trade-offs among all, are extracted, tuned
for a few steps, their batch norms recalibrated, and judged on the whole validation split. This can
be killed and repeated: judged candidates are kept in the run folder.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from search.evaluation.frozen_supernet import evaluate_extracted
from search.evaluation.jobs import CachedJobs, Row
from search.module import SearchModule
from search.objective.constraints import violations
from search.objective.feasible import nearest_below
from search.objective.local_search import LocalSearch
from search.objective.targets import Target
from search.step import make_generator
from search.surrogate.tunings import Code, fingerprint
from supernet.data.splits import Batch
from supernet.errors import UserError
from supernet.run.distributed import gather_objects
from supernet.run.folder import CONTINUE
from supernet.space.arch import Arch
from supernet.training.standalone import Evaluation

MEND = f"mend the images and go on with {CONTINUE}, or start anew with a lower model.weights.lr"


@dataclass(frozen=True)
class Candidate:
    """A network that may be chosen."""

    code: Code
    """Canonical indices of the architecture."""
    cost: float
    """Predicted, in the target's unit."""
    accuracy: float
    """On the validation split; of a slice that is drafted its score on a reward batch."""
    score: float
    """What it is preferred by: the quality of a finalist of the rounds, the mean probability of the
    right class of a judged slice (which ranks better than accuracy, docs/lab-notebook.md), or
    what a drafted one scores."""
    int8_accuracy: float | None = None
    """On the validation split after quantization to int8, where that was asked for."""


def final_codes(module: SearchModule, num: int) -> list[Code]:
    """Distinct canonical codes: for each target finalists, and as many networks that hit it.

    All keep the constraints. The nearest one below a target makes sure that something hits it.
    """
    space, codes, objective = module.space, dict[Code, None](), module.objective
    costs, limits = objective.costs, objective.constraints
    for number, target in enumerate(objective.targets):
        generator = make_generator("final", module.seed, number)
        finalists = module.controller.finalists(num, generator, number).cpu()
        local_search = LocalSearch(costs, target, _preferences(module, number), limits)
        hits = local_search.find(finalists, num, generator)[:num]
        nearest, _ = nearest_below(costs, target.cost, limits)
        rows = torch.cat([finalists, hits])
        archs = [space.decode(row) for row in rows[violations(limits, rows) == 0].tolist()]
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
    if not all(map(math.isfinite, scores)):
        raise UserError(f"a score on the reward images is not finite: {MEND}")
    scored = [
        Candidate(code, module.objective.cost_model.predict(module.space.spec(arch)), score, score)
        for code, arch, score in zip(mine, archs, scores, strict=True)
    ]
    return _gather(scored, codes)


def shortlist(candidates: list[Candidate], targets: Sequence[Target], num: int) -> list[Candidate]:
    """The candidates worth judging.

    Half of ``num`` places for each target go to the best slices that hit it, since one of them
    will be chosen; another half to the front of non-dominated ones, which is also reported, and to
    what else scores well.
    """
    ranked = sorted(candidates, key=preference)
    half = (num + 1) // 2
    hits = [one for target in targets for one in best_hits(candidates, target, half)]
    places = num + (len(targets) - 1) * half
    return list(dict.fromkeys([*hits, *front(candidates), *ranked]))[:places]


def best_hits(candidates: list[Candidate], target: Target, num: int) -> list[Candidate]:
    """The ``num`` best candidates that hit a target; of equals the cheaper first."""
    hits = (one for one in candidates if target.is_hit_by(one.cost))
    return sorted(hits, key=preference)[:num]


def front(candidates: list[Candidate]) -> list[Candidate]:
    """The candidates that no other one beats in both cost and accuracy, cheapest first."""
    best, kept = -1.0, []
    for candidate in sorted(candidates, key=lambda c: (c.cost, -c.accuracy, c.code)):
        if candidate.accuracy > best:
            kept.append(candidate)
            best = candidate.accuracy
    return kept


def preference(candidate: Candidate) -> tuple[float, float, Code]:
    """Sorts the best candidates first; of equals the cheaper."""
    return -candidate.score, candidate.cost, candidate.code


def judge(module: SearchModule, candidates: list[Candidate], folder: Path) -> list[Candidate]:
    """The candidates with accuracy and probability of their networks, on the validation split.

    Ranks share the work. Each keeps its own in the run folder, so that nothing is judged twice with
    the same weights and settings.
    """
    final, rank, world = module.final, module.global_rank, module.trainer.world_size
    tuning = module.lengths.final
    conditions = {
        "step": module.steps_done,
        "shared": fingerprint(module),
        "images": final.recalibration_images,
        "tuning": tuning,
    }

    def identity(code: Code) -> Row:
        return {**conditions, "code": code}

    def evaluate(code: Code) -> Row:
        arch, batches = module.space.decode(code), module.data.val_batches()
        images = final.recalibration_images
        found = evaluate_recalibrated(module, arch, images, batches, tuning)
        if not math.isfinite(found.loss):
            raise UserError(
                f"a network's loss on the validation images is {found.loss}: {MEND}; or, if tuning"
                f" made it so, lower model.final.tuning_steps ({tuning})"
            )
        return {**identity(code), **found._asdict()}

    jobs = CachedJobs(
        "judge",
        folder / f"judged-rank{rank}.jsonl",
        (*conditions, "code"),
        identity,
        partial(map, evaluate),
        status=lambda _: "on validation images",
        shown=module.trainer.is_global_zero,
        strict=False,
    )
    mine = candidates[rank::world]
    judged = [
        Candidate(one.code, one.cost, row["accuracy"], row["probability"])
        for one, row in zip(mine, jobs.rows([one.code for one in mine]), strict=True)
    ]
    return _gather(judged, [candidate.code for candidate in candidates])


def evaluate_recalibrated(
    module: SearchModule, arch: Arch, num_images: int, batches: Iterable[Batch], tuning: int = 0
) -> Evaluation:
    """What an extracted network is worth, with batch statistics of its own.

    Args:
        module: whose supernet.
        arch: what to extract.
        num_images: training images that give the statistics.
        batches: what to judge on, in host memory.
        tuning: steps that it is trained for before, in full precision.
    """
    return evaluate_extracted(
        module.supernet.extract(arch).to(memory_format=module.memory_format),
        module.data,
        batches,
        num_images,
        tuning,
        module.weights,
        module.moved,
        module.trainer.precision_plugin.forward_context(),
        module.loss,
    )


def _gather(mine: list[Candidate], order: list[Code]) -> list[Candidate]:
    """All ranks' candidates in the order of ``order``, on every rank."""
    by_code = {candidate.code: candidate for candidate in gather_objects(mine)}
    return [by_code[code] for code in order]
