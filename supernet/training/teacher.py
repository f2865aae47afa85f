"""Teachers: trained networks whose answers to the training images another network learns from.

A teacher is a retraining's checkpoint, a model of timm with its trained weights, or one with
weights of a file. It sees images as it was trained on them: normalised and sized in its own way.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg, is_model
from torch import Tensor, nn
from torch.nn import functional

from supernet.data_description import DataDescription, Preprocessing
from supernet.errors import UserError
from supernet.network.checkpoint import file_sha256, read_trained
from supernet.training.pretrained import fetched_model, reason_of, weights_of_file

WAY = (
    "give a model of timm (NAME, or NAME:FILE with weights of your own) or a retraining's"
    " checkpoint, such as runs/NAME/checkpoints/best.ckpt"
)


@dataclass(frozen=True)
class Teacher:
    """A network in evaluation mode, and how it wants its images."""

    network: nn.Module
    told: Preprocessing | None
    """How its images were prepared; None where that is unknown: as the student's."""
    has_classes: bool
    """Whether it answers with logits (B, classes) of the data's classes; else with features
    (B, D) on which a classifier is to be fitted."""

    @torch.no_grad()
    def answer(self, images: Tensor, told: Preprocessing | None) -> Tensor:
        """Logits or features of images (B, 3, R, R) that were prepared as ``told``."""
        if told and self.told:
            images = _prepared_anew(images, told, self.told)
        return self.network(images.contiguous(memory_format=torch.channels_last)).float()


def _prepared_anew(images: Tensor, now: Preprocessing, wanted: Preprocessing) -> Tensor:
    """Images of one mean, deviation and size with those of another."""
    if (now.mean, now.std) != (wanted.mean, wanted.std):
        values = (now.mean, now.std, wanted.mean, wanted.std)
        mean, std, other_mean, other_std = (images.new_tensor(v).view(3, 1, 1) for v in values)
        images = (images * std + mean - other_mean) / other_std
    if images.shape[-1] == wanted.crop:
        return images
    return functional.interpolate(images, (wanted.crop,) * 2, mode="bicubic", antialias=True)


class TeacherSource:
    """What ``--model.teacher`` names; nothing is loaded before it is asked for.

    Raises:
        UserError: when it names neither a model of timm nor a file.
    """

    def __init__(self, named: str) -> None:
        self.named = named
        model, _, file = named.partition(":")
        self.model = model if is_model(model) else ""
        self.file = Path(file) if self.model and file else None if self.model else Path(named)
        if self.file and not self.file.is_file():
            raise UserError(f"model.teacher is {named}, but there is no file {self.file}: {WAY}")
        if not self.file and get_pretrained_cfg(model) is None:
            raise UserError(
                f"model.teacher is {named}, of which timm has no trained weights: {WAY}"
            )

    @property
    def identity(self) -> str:
        """What tells it apart from all others, without reading its weights where timm has them."""
        if self.file:
            return f"{self.model} {file_sha256(self.file)}"
        cfg: Any = get_pretrained_cfg(self.model)
        return f"{cfg.architecture}.{cfg.tag} {cfg.hf_hub_id or cfg.url}"

    def load(self, data: DataDescription) -> Teacher:
        """The teacher of images of these classes.

        Raises:
            UserError: when its weights cannot be read or fetched, or are of other classes.
        """
        return self._of_timm(len(data.classes)) if self.model else self._retrained(data)

    def _retrained(self, data: DataDescription) -> Teacher:
        assert self.file
        trained = read_trained(self.file)
        known = trained.data.classes if trained.data else data.classes
        if known != data.classes or trained.spec.classes != len(data.classes):
            raise UserError(
                f"the teacher {self.named} knows the {trained.spec.classes} classes"
                f" {', '.join(known[:5])} ..., the data have {len(data.classes)}:"
                f" {', '.join(data.classes[:5])} ...: give one that was trained on these"
            )
        told = trained.data.preprocessing if trained.data else None
        return Teacher(trained.network(self.file), told, has_classes=True)

    def _of_timm(self, num_classes: int) -> Teacher:
        """A model with weights of a file, or timm's own, of which features are taken otherwise."""
        cfg: Any = get_pretrained_cfg(self.model)
        fits = self.file is not None or (cfg and cfg.num_classes == num_classes)
        network = self._trained(num_classes if fits else 0)
        own: Any = network.pretrained_cfg
        told = Preprocessing(
            own["input_size"][-1], own["input_size"][-1], "bicubic", own["mean"], own["std"]
        )
        return Teacher(network.eval(), told, bool(fits))

    def _trained(self, num_classes: int) -> nn.Module:
        """A model of timm with weights of the file, or timm's own."""
        if self.file is None:
            return fetched_model(self.model, WAY, num_classes)
        network = timm.create_model(self.model, num_classes=num_classes)
        weights = weights_of_file(self.file, WAY)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:  # other layers, or of another shape
            raise UserError(
                f"the teacher {self.named} cannot be loaded ({reason_of(error)}): {WAY}"
            ) from None
        return network
