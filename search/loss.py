"""Loss of a search: one for its shared weights and for its tunings, with a teacher or without."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional

from supernet.data.run_data import RunData
from supernet.errors import check_choice, check_range
from supernet.training.recipe import apart, softened
from supernet.training.soft_labels import TaughtImages, soft_labels
from supernet.training.teacher import TeacherSource

JudgedBy = Literal["labels", "teacher"]


@dataclass(frozen=True)
class Distillation:
    """How a search learns from the answers of ``model.teacher``, beside the labels."""

    teacher_share: float = 0.5
    """Share of the loss that compares with the teacher's answers."""
    temperature: float = 2.0
    """What logits are divided by where they are compared with the teacher's."""
    judged_by: JudgedBy = "labels"
    """What the loss of a tuning, by which networks are ranked, is against: the true labels, or the
    teacher's answers. Labels by default: they are what the network that is chosen will be tested
    by, while answers prefer networks that are like the teacher, and the luck of labels, which
    answers would even out, cancels as all networks are tuned on the same images."""

    def __post_init__(self) -> None:
        check_range("distillation.", self, "teacher_share", least=0, most=1)
        check_range("distillation.", self, "temperature", above=0)
        check_choice("distillation.judged_by", self.judged_by, get_args(JudgedBy))


class Losses(NamedTuple):
    """Losses of one batch, scalars."""

    training: Tensor
    """What gradients are of."""
    judged: Tensor
    """What a tuning tells of its network by, in nats."""


class SearchLoss:
    """Loss of shared weights and of tunings, chosen once for both.

    Args:
        label_smoothing: share of each label that is spread over all classes.
        teacher: as of ``retrain``'s ``model.teacher``; empty for none.
        distillation: how it is learned from.

    Raises:
        UserError: when ``teacher`` names neither a model of timm nor a file.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        teacher: str = "",
        distillation: Distillation = Distillation(),
    ) -> None:
        self.label_smoothing, self.distillation = label_smoothing, distillation
        self.source = TeacherSource(teacher) if teacher else None
        self.taught_by = self.source.identity if self.source else "none"
        """Identity of the teacher."""

    @property
    def learned_from(self) -> list[str]:
        """Checkpoints of trainings whose images the teacher has seen."""
        file = self.source.file if self.source else None
        return [str(file)] if file and file.suffix == ".ckpt" else []

    def prepare(self, data: RunData, device: torch.device) -> None:
        """Ask the teacher, or read what it has answered, and have training batches hold it.

        Raises:
            UserError: when the data cannot be read without augmentation, or the teacher not used.
        """
        if self.source:
            answers = soft_labels(self.source, data, device)
            data.training_view = partial(TaughtImages, answers=answers)

    def __call__(self, logits: Tensor, labels: Tensor, *answers: Tensor) -> Losses:
        """Losses of logits (B, classes), of labels (B,) and a teacher's logits (B, classes)."""
        how = self.distillation
        logits = logits.float() if answers else logits
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        judged = training = loss
        for answer in answers:
            by_teacher = apart(logits, softened(answer, how.temperature), how.temperature)
            training = torch.lerp(loss, by_teacher, how.teacher_share)
            judged = by_teacher if how.judged_by == "teacher" else loss
        return Losses(training, judged)
