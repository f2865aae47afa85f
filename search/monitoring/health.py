"""Search health: which ops act and learn, what the search has cost, and its alarms."""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from search.callbacks import SearchCallback, searching
from search.module import SearchModule
from search.monitoring.alarms import Alarm, Alarms, Stage, keep_alarms
from search.monitoring.compute import FORWARD_PASSES, path_macs, running_macs
from search.step import StepRecord, StepResult
from supernet.command.output import say
from supernet.data.splits import Batch
from supernet.network.elastic import ElasticLayer
from supernet.network.supernet import SuperNet
from supernet.run.distributed import sum_over_ranks
from supernet.space.arch import Path, mixed_ops
from supernet.space.mnasnet import MnasSpace
from supernet.tracking.metrics import log_interval, log_metrics, wandb_runs


class Health(SearchCallback):
    """Logs use and gradient norm of each op and what the search has cost, and raises alarms.

    Its counts, and what its alarms remember, lie in the checkpoint: a resumed search counts on and
    repeats no alarm.
    """

    used: Tensor
    """(blocks, ops) uses at this step, over all processes."""
    totals: Tensor
    """(ops + 1,) uses of each op so far, and images x multiply-accumulates; in host memory."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Start at 0, before a checkpoint may say otherwise."""
        search = searching(pl_module)
        self.ops = search.space.ops
        self.alarms = Alarms(search.controller_kind)
        # Every process counts what all do, so that no step waits for a device or a process.
        self.totals = torch.zeros(len(self.ops) + 1, dtype=torch.int64)

    @property
    def uses(self) -> dict[str, int]:
        """Blocks in which each op has acted, over all steps and processes."""
        return dict(zip(self.ops, self.totals.tolist(), strict=False))

    @property
    def image_macs(self) -> int:
        """Images x multiply-accumulates of all training steps; a scored image counts a third."""
        return int(self.totals[-1])

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        counts = {"uses": self.uses, "image_macs": self.image_macs}
        return {**counts, "alarms": self.alarms.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a checkpoint was."""
        counts = [*state_dict["uses"].values(), state_dict["image_macs"]]
        self.totals.copy_(torch.tensor(counts))
        self.alarms.load_state_dict(state_dict["alarms"])

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Count what a step that begins will do, on batches of which each has as many images."""
        search = searching(pl_module)
        if batch_idx % search.accumulated:
            return
        plan = search.plan()
        macs = sum(path_macs(search.space, path, plan.stream > 0) for path in plan.paths)
        self.used = torch.tensor([op_uses(search.space, path) for path in plan.paths]).sum(0)
        work = torch.tensor([len(batch[1]) * macs])
        self.totals += torch.cat([self.used.sum(0), work])

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Look at the gradients before they are shortened, when metrics are due."""
        search = searching(pl_module)
        plan = search.plan()
        if not trainer.is_global_zero or plan.number % log_interval(trainer):
            return
        # A step that was left out, as it was not finite, has no gradients.
        left_out = search.supernet.classifier.weight.grad is None
        norms = {} if left_out else gradient_norms(search.supernet, self.used)
        alarms = self.alarms.of_gradients(norms)
        if not plan.by_policy:
            paths = search.batches_done * trainer.world_size
            due = {op: paths * uses for op, uses in uniform_uses(search.space).items()}
            alarms += self.alarms.of_uses(self.uses, due)
        report_alarms(trainer, alarms)
        values = {f"op_gradient_norm/{op}": norm for op, norm in norms.items()}
        values |= {f"op_uses/{op}": number for op, number in self.uses.items()}
        values |= {"train/image_macs": self.image_macs, "alarms": len(self.alarms.reported)}
        log_metrics(trainer, values, plan.number)

    def on_step(self, search: SearchModule, record: StepRecord) -> None:
        """Count what the controller step that followed has run, if there was one."""
        if record.update is None:
            return
        archs = search.decoded(record.update.proposals.indices)
        work = running_macs(search.space, archs, record.reward_images) // FORWARD_PASSES
        device = search.trainer.strategy.root_device
        self.totals[-1:] += sum_over_ranks(torch.tensor([work], device=device)).cpu()

    def on_update(self, search: SearchModule, update: StepResult, number: int) -> None:
        """Look at the controller's update."""
        trainer, logs = search.trainer, update.logs.items()
        entropy = sum(value for name, value in logs if name.startswith("decision_entropy/"))
        largest = sum(map(math.log, search.space.decision_sizes))
        if trainer.is_global_zero and (alarms := self.alarms.of_update(update, entropy, largest)):
            report_alarms(trainer, alarms)
            log_metrics(trainer, {"alarms": len(self.alarms.reported)}, number)


def op_uses(space: MnasSpace, path: Path) -> list[list[int]]:
    """(blocks, ops): 1 where a block runs an op; a mixed block runs several."""
    return [[int(op in mixed_ops(block.op)) for op in space.ops] for block in path.blocks]


def uniform_uses(space: MnasSpace) -> dict[str, float]:
    """Mean number of blocks that run each op under uniform sampling; warm-up has more."""
    ops = [choices["op"] for choices in space.choices]
    return {op: sum((op in some) / len(some) for some in ops) for op in space.ops}


def gradient_norms(supernet: SuperNet, used: Tensor) -> dict[str, float]:
    """Norm of the gradient of the weights of each op that this step used, after a backward pass.

    ``used`` (blocks, ops) is above 0 where an op acted on any process.
    """
    norms = {}
    for op, column in zip(supernet.space.ops, used.T.tolist(), strict=True):
        stages = [stage for stage, uses in zip(supernet.blocks, column, strict=True) if uses]
        layers = [layer for stage in stages for layer in stage.modules()]
        if elastic := [layer for layer in layers if isinstance(layer, ElasticLayer)]:
            gradients = [one for layer in elastic for one in layer.gradients(op)]
            norms[op] = float(get_total_norm(gradients))
    return norms


def report_alarms(trainer: pl.Trainer, alarms: list[Alarm], stage: Stage = "steps") -> None:
    """Print each alarm, keep it in ``alarms.json`` of the run, and bring it to W&B.

    Those of the ``end`` replace those of an earlier end, before the search went on.
    """
    for alarm in alarms:
        say(f"alarm: {alarm.seen}: {alarm.advice}")
        for run in wandb_runs(trainer):
            run.alert(title=alarm.cause, text=f"{alarm.seen}: {alarm.advice}")
            run.summary[f"alarm/{alarm.cause}"] = alarm.seen
    if trainer.is_global_zero and (alarms or stage == "end"):
        keep_alarms(trainer.default_root_dir, alarms, stage)
