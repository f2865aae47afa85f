"""How far scores on batch statistics, which the controller sees, are from recalibrated ones."""

from statistics import fmean

from search.callbacks import SearchCallback
from search.module import SearchModule
from search.monitoring.compute import FORWARD_PASSES
from search.selection.selection import evaluate_recalibrated
from search.step import StepRecord, StepResult
from supernet.tracking.metrics import log_metrics

ARCHS = 2
"""Samples of an update that are recalibrated."""
IMAGES = 512
"""Training images that give them their statistics, at most."""
SHARE = 0.01
"""Share of the search's work for all probes together, but never less than one probe."""
MOST = 10
"""Probes of a search, at most."""


class BatchNormProbe(SearchCallback):
    """Judges samples of a few updates once more, on the same images with recalibrated statistics.

    The updates are spread evenly over the controller's time, the last one among them.
    """

    def on_step(self, search: SearchModule, record: StepRecord) -> None:
        """Probe, if it is time."""
        if record.update is None or not search.trainer.is_global_zero:
            return
        images = min(IMAGES, search.final.recalibration_images)
        steps = int(search.trainer.estimated_stepping_batches)
        work = FORWARD_PASSES * steps * record.images
        num = num_probes(work, images + record.reward_images)
        number, total = record.update.update_step
        if (number + 1) * num // total > number * num // total:
            values = _probe(search, record.plan.number, record.update, images)
            log_metrics(search.trainer, values, record.plan.number)


def num_probes(search: int, one: int) -> int:
    """How many probes a search can afford.

    Args:
        search: images of its training steps, in forward passes.
        one: images of one architecture's probe.
    """
    return min(MOST, max(1, int(SHARE * search / (ARCHS * one))))


def _probe(module: SearchModule, step: int, update: StepResult, images: int) -> dict[str, float]:
    archs = [module.space.decode(row) for row in update.proposals.indices[:ARCHS].tolist()]
    batch = module.data.reward_batch(step // module.sampling.every, module.global_rank)
    return {
        "probe/batch_accuracy": float(update.scores.accuracy[:ARCHS].mean()),
        "probe/recalibrated_accuracy": fmean(
            getattr(evaluate_recalibrated(module, arch, images, [batch]), module.sampling.score)
            for arch in archs
        ),
    }
