"""Scores of networks by the shared weights of searches, kept line by line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from search.cache import Cache, Row, commit
from search.frozen_supernet import FrozenSupernet
from search.rank_networks import Candidate
from search.trainings import network_hash
from supernet.progress_lines import ProgressLines

KEYS = ("supernet", "data", "images", "network", "tuning")
"""What identifies a score in the cache."""


def named(supernets: Sequence[FrozenSupernet]) -> dict[str, FrozenSupernet]:
    """Supernets by the name of their score."""
    if len(supernets) == 1:
        return {"supernet": supernets[0]}
    return {f"supernet {number}": one for number, one in enumerate(supernets, 1)}


def score_rows(
    supernets: Sequence[FrozenSupernet],
    candidates: Sequence[Candidate],
    path: Path,
    tunings: Sequence[int] = (),
) -> dict[str, np.ndarray]:
    """Scores (N,) of each supernet: accuracy, the loss with its sign changed, what searches use.

    That is the probability of the right class after some steps of training (``Judge``).

    Args:
        supernets: of searches.
        candidates: the networks.
        path: where scores are kept.
        tunings: steps of such training.
    """
    scores = {}
    for name, supernet in named(supernets).items():
        rows = _kept_scores(supernet, candidates, path, 0)
        scores[name] = np.array([row["accuracy"] for row in rows])
        scores[f"{name}, by loss"] = np.array([-row["loss"] for row in rows])
        for steps in tunings:
            rows = _kept_scores(supernet, candidates, path, steps)
            scores[f"{name}, tuned for {steps}"] = np.array([row["probability"] for row in rows])
    return scores


def _kept_scores(
    supernet: FrozenSupernet, candidates: Sequence[Candidate], path: Path, tuning: int
) -> list[Row]:
    """Accuracy and loss of each network on the validation split; kept in the file ``path``."""
    cache, shared = Cache(path, KEYS), supernet.identity
    known = {**shared, "tuning": tuning}
    rows = [{**known, "network": network_hash(one.spec)} for one in candidates]
    with ProgressLines() as bar:
        task = bar.add_task("scores", total=len(rows), status=str(supernet.checkpoint))
        for row, candidate in zip(rows, candidates, strict=True):
            if cache.key(row) not in cache.rows:
                scored = supernet.evaluate(candidate.arch, tuning)
                cache.append({**row, "commit": commit(), **scored._asdict()})
            bar.update(task, advance=1)
    return [cache.rows[cache.key(row)] for row in rows]
