"""Soft labels: a teacher's answers to all training images, as in evaluation, found once and kept.

They lie in the user's cache folder under a digest of images and teacher. Each training image keeps
its own, however it is augmented; where images are mixed, so are they.
"""

import dataclasses
import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import Dataset, Subset

from supernet.command.output import say
from supernet.data.images.index_cache import cache_folder
from supernet.data.resumable import SeededDataset
from supernet.data.run_data import RunData
from supernet.data.splits import num_images
from supernet.errors import UserError
from supernet.files.writing import write_atomic
from supernet.training.teacher import Teacher, TeacherSource

VERSION = 1
"""Raised whenever a teacher is asked otherwise."""
LOOKED_AT = 8
"""Images whose pixels go into the digest, as settings of the data may change all of them."""
FOLDS = 5
"""Parts of the training images: a classifier on features answers to one that it has not seen."""


def soft_labels(source: TeacherSource, data: RunData, device: torch.device) -> np.ndarray:
    """Logits (N, classes) in float16 of all training images, in their order.

    In a search these are the images that its weights are trained on. Answers are read where they
    were kept; a teacher is not even loaded then.

    Raises:
        UserError: when the data cannot be read without augmentation, or the teacher not be used.
    """
    path = _cached(source, data)
    shape = (len(data.training_labels()), data.num_classes)
    answers = _read(path, shape) if path else None
    if answers is None:
        with isolate_rng():  # weights are drawn before they are loaded
            teacher = source.load(data.description)
        answers = _asked(teacher, source, data, device).numpy().astype(np.float16)
        if path:
            _keep(path, answers)
    right = (answers.argmax(1) == np.array(data.training_labels())).mean()
    say(f"teacher {source.named}: right on {right:.1%} of {len(answers):,} training images")
    return answers


def _asked(teacher: Teacher, source: TeacherSource, data: RunData, device: torch.device) -> Tensor:
    """Logits (N, classes) of all training images on the CPU."""
    told = data.preprocessing
    if teacher.told and source.model and told is None:
        raise UserError(
            f"the teacher {source.named} wants images in its own way, but the datamodule does not"
            " tell how they are normalised: give it a description with preprocessing (docs/data.md)"
        )
    teacher.network.to(device)
    batches = (data.moved(batch, device) for batch in data.plain_training_images())
    answers = torch.cat([teacher.answer(images, told).cpu() for images, *_ in batches])
    return answers if teacher.has_classes else _classified(answers, data)


def _classified(features: Tensor, data: RunData) -> Tensor:
    """Log-probabilities (N, classes) by logistic regressions on features (N, D) of other images.

    Raises:
        UserError: when a class has too few images.
    """
    from sklearn.linear_model import LogisticRegression  # slow to import
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = np.array(data.training_labels())
    fewest = np.bincount(labels, minlength=data.num_classes).min()
    if fewest < 2:
        raise UserError(
            f"a class has {fewest} training image(s), too few for a teacher of other classes: add"
            " images, or give a teacher that was trained on these classes"
        )
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds, method = min(FOLDS, int(fewest)), "predict_log_proba"
    found = cross_val_predict(model, features.numpy(), labels, cv=folds, method=method)
    return torch.from_numpy(found).float().clamp(min=-100.0)


def _cached(source: TeacherSource, data: RunData) -> Path | None:
    """The file of these answers; None where the data do not tell their content."""
    if data.records is None:
        say("note: the teacher is asked anew by each start, as the data do not tell their content")
        return None
    pixels = data.plain_training_images().dataset
    some = np.linspace(0, num_images(pixels) - 1, LOOKED_AT).astype(int).tolist()
    told = data.preprocessing
    facts = [
        VERSION,
        source.identity,
        data.num_classes,
        told and dataclasses.asdict(told),
        data.training_labels(),
        [(r.label, r.split, r.digest) for r in data.records if r.split not in ("val", "test")],
        [hashlib.sha256(pixels[index][0].numpy().tobytes()).hexdigest() for index in some],
    ]
    if isinstance(pixels, Subset):
        facts.append(list(pixels.indices))
    name = hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()
    return cache_folder() / "answers" / f"{name}.npy"


def _read(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """Kept answers; None where the file is missing, damaged or of another shape."""
    try:
        answers = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return answers if answers.shape == shape and answers.dtype == np.float16 else None


def _keep(path: Path, answers: np.ndarray) -> None:
    content = io.BytesIO()
    np.save(content, answers)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content.getvalue())
    except (OSError, UserError) as error:
        sys.stderr.write(f"note: the teacher will be asked anew by the next run ({error})\n")


class TaughtImages(Dataset[Any]):
    """Samples (image, label, a teacher's logits) of a data set of images and labels."""

    def __init__(self, dataset: Dataset[Any], answers: np.ndarray) -> None:
        self.dataset, self.answers = dataset, answers

    def __len__(self) -> int:
        return num_images(self.dataset)

    def seeded_items(self, indices: list[int], seeds: list[int]) -> list[Any]:
        """A batch of samples."""
        drawn = SeededDataset(self.dataset).__getitems__(list(zip(indices, seeds, strict=True)))
        answers = torch.from_numpy(self.answers[indices].astype(np.float32))
        return [(*sample, answer) for sample, answer in zip(drawn, answers, strict=True)]
