"""SearchModule: weight steps on paths of the supernet, and what a controller is asked between."""

import contextlib
import dataclasses
from functools import partial
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor

from search.checks import check_identity, check_length, check_run, check_updates, note_costs
from search.controllers.controller import UpdateStep
from search.controllers.settings import ControllerSettings
from search.gradients.reduction import GradientReduction
from search.gradients.strategy import SearchStrategy
from search.loss import Distillation, SearchLoss
from search.objective.constraints import Constraint
from search.objective.objective import Objective
from search.objective.reward import Reward
from search.objective.targets import Requested, num_targets
from search.paths import StepPaths
from search.settings import (
    Final,
    Lengths,
    Sampling,
    Schedule,
    SurrogateSettings,
    WeightOptimizer,
    tuning_lengths,
    update_steps,
)
from search.step import (
    Purpose,
    StepPlan,
    StepRecord,
    StepResult,
    controller_step,
    make_generator,
    of_those_with_gradients,
    slice_scores,
)
from supernet.data.run_data import RunData
from supernet.data.splits import Batch
from supernet.errors import UserError, check_range
from supernet.network.supernet import SuperNet
from supernet.run.distributed import first_on_rank_zero
from supernet.run.finite import FiniteGuard, LeftOutError, scales_loss
from supernet.run.options import training_loader
from supernet.space.arch import Arch
from supernet.space.mnasnet import MnasSpace
from supernet.tracking.metrics import log_interval
from supernet.training.recipe import check_batch_size


class SearchModule(pl.LightningModule):
    """A supernet and the controller that samples its paths.

    Every draw is a function of (seed, step, rank), so that a resumed search repeats an
    uninterrupted one and every rank knows its own path.
    """

    def __init__(
        self,
        num_classes: int,
        resolution: int,
        stem_stride: int,
        space: MnasSpace = MnasSpace(),
        target: Requested = "p40",
        cost: Literal["ms", "macs", "params"] = "ms",
        table: str | None = None,
        table_cache: str = "runs/tables",
        constraints: list[Constraint] | None = None,
        reward: Reward = Reward(),
        schedule: Schedule = Schedule(),
        weights: WeightOptimizer = WeightOptimizer(),
        sampling: Sampling = Sampling(),
        surrogate: SurrogateSettings = SurrogateSettings(),
        controller: ControllerSettings = ControllerSettings(),
        final: Final = Final(),
        teacher: str = "",
        distillation: Distillation = Distillation(),
        channels_last: bool = True,
        compress_gradients: bool = False,
    ) -> None:
        """Allocate the supernet and the controller.

        Args:
            num_classes: linked from the data.
            resolution: side of the images in pixels, linked from the data.
            stem_stride: linked from the data.
            space: the search space; the data's three values replace its own.
            target: upper limit of the cost: a number in its unit, ``p40`` (quantile of the space)
                or ``0.8x mnasnet_a1``; or a list of such, to find a network for each.
            cost: what is limited: predicted latency, multiply-accumulates or parameters.
            table: a latency table to use instead of measuring this machine.
            table_cache: folder in which measured tables are kept.
            constraints: further limits on other costs or devices, all of which the choice keeps.
            reward: how cost is traded for accuracy.
            schedule: how many of the steps train shared weights, and how.
            weights: optimizer of the shared weights, and of tunings.
            sampling: what the controller is rewarded by, and how often it is asked.
            surrogate: which networks are tuned to learn from.
            controller: what proposes networks, and how it learns.
            final: how the networks of the targets are chosen at the end.
            teacher: a network whose answers are learned from besides the labels, as in a
                retraining.
            distillation: how a teacher's answers are learned from.
            channels_last: memory format of images and weights; several times faster on CPUs.
            compress_gradients: whether several devices exchange gradients in bfloat16: half the
                bytes, and rounded.

        Examples:
            >>> from supernet.space.mnasnet import MnasSpace
            >>> search = SearchModule(10, 16, 1, MnasSpace(width=0.1, head=32), "p40", "macs")
            >>> len(search.space.decision_sizes)
            42
        """
        super().__init__()
        self.space = dataclasses.replace(
            space, classes=num_classes, resolution=resolution, stem_stride=stem_stride
        )
        self.resolve_objective = partial(
            Objective.resolve,
            *(self.space, reward, target, cost, table, table_cache, constraints or ()),
        )
        self.schedule, self.controller_kind = schedule, controller.kind
        self.weights, self.sampling, self.final = weights, sampling, final.settled(sampling.score)
        self.surrogate, self.num_targets = surrogate, num_targets(target)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.loss = SearchLoss(weights.label_smoothing, teacher, distillation)
        self.learned_from = self.loss.learned_from
        self.supernet = SuperNet(self.space)
        self.controller = controller.build(
            self.space.decision_sizes, sampling.samples, 1 + final.samples, self.num_targets
        )
        # The controller brings the ranks together itself; DDP must not wait for its gradients.
        self._ddp_params_and_buffers_to_ignore = [
            f"controller.{name}" for name in self.controller.state_dict(keep_vars=True)
        ]
        self.steps_done = self.batches_done = self.total_steps = self.shared_steps = 0
        self.lengths = Lengths(0, 0)
        self._plan: StepPlan | None = None
        self._gradient_norm = torch.zeros(())
        self._losses: list[Tensor] = []
        self._compresses = compress_gradients
        self._reduction: GradientReduction | None = None
        self.seed = 0

    def setup(self, stage: str) -> None:
        """Measure or load the device, and refuse a target that no network of the space meets."""
        check_run(self.trainer)
        # Only now: Lightning would refuse to accumulate gradients, which a search does by itself.
        self.automatic_optimization = False
        self.seed = self.data.seed
        self._start_paths()
        if isinstance(self.trainer.strategy, SearchStrategy):
            self._reduction = GradientReduction(self.supernet, self._compresses)
        self.data.reward_batch_size = self.sampling.images
        if not self.learns_from_tunings:
            self._check_reward_images()
        # Figures show what is logged.
        check_range("trainer.", self.trainer, "log_every_n_steps", least=1)
        self.objective = self.resolve_objective()
        if self.trainer.is_global_zero:
            note_costs(self.objective)
        self.controller.prepare(self.objective)
        device = self.trainer.strategy.root_device
        first_on_rank_zero(self.trainer, lambda: self.loss.prepare(self.data, device))
        self.supernet.to(memory_format=self.memory_format)

    def _start_paths(self) -> None:
        ranks = self.global_rank, self.trainer.world_size, self.accumulated
        self.paths = StepPaths(self.space, self.controller, self.sampling.every, self.seed, *ranks)

    @property
    def accumulated(self) -> int:
        """Batches of a weight step, fewer at the end of an epoch; each trains a path of its own."""
        return self.trainer.accumulate_grad_batches

    @property
    def data(self) -> RunData:
        """The run's images."""
        trainer: Any = self.trainer
        return trainer.datamodule

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """One optimizer for the shared weights, and what the controller has of its own."""
        self._settle_length()
        loader = training_loader(self.trainer)
        check_batch_size(loader.sampler.batch_size)
        if not self.learns_from_tunings:
            self._first_reward_batch = self.data.reward_batch(0, self.global_rank)
            check_batch_size(len(self._first_reward_batch[1]), "model.sampling.images")
        images = loader.sampler.global_batch_size * self.accumulated
        optimizer = self.weights.optimizer(self.supernet, images, not scales_loss(self.trainer))
        return [optimizer, *self.controller.optimizers]

    def _settle_length(self) -> None:
        """Deal the steps of the search to shared weights, to the policy's paths and to tunings."""
        total, score = self.trainer.estimated_stepping_batches, self.sampling.score
        check_length(total)
        self.total_steps = int(total)
        self.shared_steps = self.schedule.shared_steps(self.total_steps, score)
        self.lengths = self.tuning_lengths()
        if self.learns_from_tunings:
            # What is left belongs to the tunings that follow the fit.
            self.trainer.fit_loop.epoch_loop.max_steps = self.shared_steps
        else:
            check_updates(self.shared_steps, self.total_steps, self.sampling.every)

    def tuning_lengths(self) -> Lengths:
        """Lengths of the tunings that the steps after the shared ones pay for."""
        left, score = self.total_steps - self.shared_steps, self.sampling.score
        return tuning_lengths(left, score, self.surrogate, self.final, self.num_targets)

    @property
    def learns_from_tunings(self) -> bool:
        """Whether the controller is rewarded by tunings after the weight steps, not by slices."""
        return self.sampling.score == "tuned"

    def _check_reward_images(self) -> None:
        """Find out now that images are too few, not when the controller takes over."""
        try:
            self.data.reward_loader(0, self.global_rank)
        except UserError as error:
            raise UserError(f"reward: {error}, or lower model.sampling.images") from None

    def first_reward_batch(self) -> Batch:
        """The first one, once: its loader has read on by now."""
        batch = self._first_reward_batch
        del self._first_reward_batch
        return batch

    @property
    def progress(self) -> float:
        """Share of the shared steps that are done, in [0, 1]."""
        return min(1.0, self.steps_done / self.shared_steps) if self.shared_steps else 1.0

    def plan(self) -> StepPlan:
        """What the next weight step will do on this rank; the same however often it is asked."""
        if self._plan is None or self._plan.number != self.steps_done:
            by_policy, step = self.steps_done >= self.shared_steps, self.steps_done
            warmup = self.schedule.warmup_probability(self.progress)
            batches = self._batches_of_step()
            paths = self.paths.proposed(step) if by_policy else self.paths.uniform(step, warmup)
            paths = paths[: batches * self.trainer.world_size]
            self._plan = StepPlan(
                number=step,
                own=paths[self.global_rank :: self.trainer.world_size],
                paths=paths,
                by_policy=by_policy,
                is_last_uniform=step + 1 == self.shared_steps,
                warmup=warmup,
                stream=self.schedule.stream_weight(self.progress),
                lr_factor=self.schedule.learning_rate(self.progress),
            )
        return self._plan

    def _batches_of_step(self) -> int:
        """Batches of the step that begins, which ends with its epoch."""
        per_epoch = int(self.trainer.num_training_batches)
        return min(self.accumulated, per_epoch - self.batches_done % per_epoch)

    def _generator(self, purpose: Purpose, step: int) -> torch.Generator:
        return make_generator(purpose, self.seed, step, self.global_rank)

    def laid_out(self, images: Tensor) -> Tensor:
        """Images in the memory format of the weights."""
        # Here and not in a transfer hook, which a user's datamodule may take over.
        return images.contiguous(memory_format=self.memory_format)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Train one path on one batch, then let the controller learn, if it is time.

        Returns:
            ``record``, the ``StepRecord`` of both, and ``shown``, numbers for the progress line;
            nothing before the last of the batches whose gradients are accumulated.
        """
        plan = self.plan()
        self._backward(plan, *batch)
        self.batches_done += 1
        if len(self._losses) < len(plan.own):
            return {}
        logs = self._weight_step(plan)
        update, reward_images = None, 0
        if plan.by_policy and plan.number % self.sampling.every == 0:
            reward_batch = self.data.reward_batch(
                plan.number // self.sampling.every, self.global_rank
            )
            update, reward_images = self._controller_step(reward_batch), len(reward_batch[1])
        self.steps_done += 1
        images = len(plan.own) * len(batch[1])
        record = StepRecord(plan, images, logs, update, reward_images)
        return {"record": record, "shown": record.shown}

    def _backward(self, plan: StepPlan, images: Tensor, *known: Tensor) -> None:
        """Add the gradients of one of a step's paths, by what is known of images."""
        path = plan.own[len(self._losses)]
        logits = self.supernet(self.laid_out(images), path, plan.stream)
        loss = self.loss(logits, *known).training / len(plan.own)
        self.manual_backward(loss)
        self._losses.append(loss.detach())

    def _weight_step(self, plan: StepPlan) -> dict[str, float]:
        """Make one optimizer step by the gradients so far; returns the metrics that are due."""
        given = self.optimizers()  # Lightning gives a single one without a list
        optimizer = given[0] if isinstance(given, list) else given
        for group in optimizer.param_groups:
            group["lr"] = group["largest_lr"] * plan.lr_factor
        if self._reduction:
            self._reduction(plan.paths, plan.stream > 0)
        with of_those_with_gradients(optimizer.optimizer):
            optimizer.step()
            # None and not 0: the optimizer then passes over what a path leaves out, which its
            # moments would go on moving.
            optimizer.zero_grad(set_to_none=True)
        loss, self._losses = torch.stack(self._losses).sum(), []
        if plan.number % log_interval(self.trainer):
            return {}  # reading a number waits for the GPU
        return {
            "train/loss": float(loss),
            "train/gradient_norm": float(self._gradient_norm),
            "train/lr": optimizer.param_groups[0]["lr"],
            "train/skipped": FiniteGuard.of(self.trainer).steps,
            "schedule/warmup": plan.warmup,
            "schedule/stream": plan.stream,
        }

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Shorten the gradients, whose scale has been taken off by now."""
        # One norm for all weights: a step of any path keeps its direction.
        self._gradient_norm = self.weights.shorten_gradients(optimizer)

    def _controller_step(self, batch: Batch) -> StepResult | None:
        """Score proposed architectures on one reward batch and let the controller learn.

        None where scores are not finite and such steps are left out.
        """
        step = self.steps_done
        steps = update_steps(self.shared_steps, self.total_steps, self.sampling.every)
        with contextlib.suppress(LeftOutError):
            return controller_step(
                self.controller,
                self.sampling.samples,
                # One batch for all, so that no score differs by the luck of its images.
                lambda rows: FiniteGuard.of(self.trainer).admitted(
                    self.trainer, self.slice_scores(self.decoded(rows), batch)
                ),
                UpdateStep(steps.index(step), len(steps)),
                draws=self._generator("samples", step),
                shuffles=self._generator("minibatches", step),
            )
        return None

    def decoded(self, indices: Tensor) -> list[Arch]:
        """Architectures of indices (M, D)."""
        return [self.space.decode(row) for row in indices.tolist()]

    def moved(self, batch: Batch) -> Batch:
        """A batch from host memory as training sees it: by the data's hooks, on this device."""
        moved: Batch = self.data.moved(batch, self.device)
        return self.laid_out(moved[0]), *moved[1:]

    def slice_scores(self, archs: list[Arch], batch: Batch) -> Tensor:
        """What ``sampling.score`` says of each architecture's slice, on batch statistics, (M,)."""
        with self.trainer.precision_plugin.forward_context():
            return slice_scores(self.supernet, archs, *self.moved(batch), self.sampling.score)

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree on with the search that continues it, as plain values."""
        model = self.objective.cost_model
        targets = [target.cost for target in self.objective.targets]
        return {
            "space": dataclasses.asdict(self.space),
            "cost": f"{model.unit} {model.hash}".strip(),
            "target": targets[0] if len(targets) == 1 else targets,
            "constraints": [one.identity for one in self.objective.constraints],
            "seed": self.seed,
            "controller": self.controller_kind,
            "teacher": self.loss.taught_by,
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the step and what identifies the search; all draws follow from seed and step."""
        done = {"steps_done": self.steps_done, "batches_done": self.batches_done}
        checkpoint["search"] = {**done, **self.identity}
        FiniteGuard.of(self.trainer).check_checkpoint(self.trainer, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another search's checkpoint, see ``check_identity``."""
        check_identity(checkpoint.get("search"), self.identity)
        self.steps_done = checkpoint["search"]["steps_done"]
        # Searches of earlier versions accumulated no gradients.
        self.batches_done = checkpoint["search"].get("batches_done", self.steps_done)
        self._plan = None
        self._start_paths()
