"""The datamodule of a run that is interrupted and resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

from supernet.data.run_data import RunData
from supernet.errors import UserError
from tests.helpers.recorded_runs import Paired, Recorder, fit, noisy_loader, searching

# A resumed run finds its own checkpoints.
pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


def assert_resumes_exactly(
    folder: Path, data: Callable[[], RunData], stop_after: int, **settings: Any
) -> Recorder:
    """Compares a run that is cut and resumed with a whole one, which it returns."""
    whole = fit(folder / "whole", data(), **settings)
    first = fit(folder / "cut", data(), stop_after=stop_after, **settings)
    second = fit(folder / "cut", data(), resume=str(folder / "cut/last.ckpt"), **settings)
    assert len(first.seen) == stop_after
    assert first.seen + second.seen == whole.seen
    assert first.validated + second.validated == whole.validated
    assert len({tuple(batch) for batch in whole.seen}) == len(whole.seen)
    return whole


@pytest.mark.parametrize("stop_after", [1, 6, 7, 8, 13, 20])
def test_a_run_that_is_resumed_sees_the_batches_that_were_left(
    tmp_path: Path, stop_after: int
) -> None:
    assert_resumes_exactly(tmp_path, searching, stop_after)


@pytest.mark.parametrize("limit", [5, 0.8])
@pytest.mark.parametrize("stop_after", [3, 5, 6])
def test_a_run_of_shortened_epochs_is_resumed_exactly(
    tmp_path: Path, stop_after: int, limit: float
) -> None:
    whole = assert_resumes_exactly(tmp_path, searching, stop_after, limit_train_batches=limit)
    assert len(whole.seen) == 3 * 5  # 3 epochs of 5 instead of 7 batches


def test_a_loader_that_lightning_restores_is_resumed_exactly(tmp_path: Path) -> None:
    assert_resumes_exactly(tmp_path, searching, 10, estimates=False)


def test_what_workers_fetched_ahead_is_not_lost_in_a_resume(tmp_path: Path) -> None:
    class Ahead(Paired):
        def weights_dataloader(self) -> DataLoader:
            return noisy_loader(28, num_workers=2)

    assert_resumes_exactly(tmp_path, lambda: RunData(Ahead(), "search", 0), 10, max_epochs=2)


def test_a_resume_from_an_older_checkpoint_repeats_the_steps_since_then(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", searching())
    fit(tmp_path / "cut", searching(), stop_after=10)
    kept = (tmp_path / "cut/last.ckpt").rename(tmp_path / "kept.ckpt")
    fit(tmp_path / "cut", searching(), resume=str(kept), stop_after=12)
    assert fit(tmp_path / "cut", searching(), resume=str(kept)).seen == whole.seen[10:]


def test_a_run_that_ended_can_be_continued_for_more_epochs(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", searching())
    first = fit(tmp_path / "cut", searching(), max_epochs=2)
    second = fit(tmp_path / "cut", searching(), resume=str(tmp_path / "cut/last.ckpt"))
    assert first.seen + second.seen == whole.seen


def test_a_run_that_is_resumed_with_another_seed_is_refused(tmp_path: Path) -> None:
    fit(tmp_path, searching(), stop_after=4)
    with pytest.raises(UserError, match="had seed 0, now it is 1"):
        fit(tmp_path, searching(seed=1), resume=str(tmp_path / "last.ckpt"))
