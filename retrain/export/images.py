"""Images on which exported files are compared with PyTorch: of the run's data, or generated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Subset

from supernet.command.output import say
from supernet.command.trust import check_imports
from supernet.data.run_data import RunData
from supernet.data_description import DataDescription
from supernet.errors import MissingDataError, UserError
from supernet.files.reading import read_yaml, typed_object
from supernet.network.checkpoint import TrainedNetwork
from supernet.run.data_record import DataChange, DataRecord, read_record, record_file
from supernet.space.spec import NetSpec
from supernet.training.config import make_data

NUM_IMAGES = 256
"""Images that every file must agree on; as many as there are, where the data have fewer."""
Source = Literal["validation", "generated"]


@dataclass(frozen=True)
class CheckImages:
    """Images that a file and PyTorch are given, and the data that they are of."""

    images: Tensor
    """Network inputs (N, 3, R, R)."""
    source: Source
    data: DataDescription
    """What the network was trained on, as its checkpoint says or, in version 0.1, its data do."""
    run_data: RunData | None = None
    """Where validation images came from."""

    @property
    def words(self) -> str:
        """Their number and source, such as ``179 validation images``."""
        return f"{len(self.images)} {self.source} images"


def check_images(
    run: Path,
    trained: TrainedNetwork,
    source: Source | None,
    changes: Mapping[str, Any],
    trusted: Sequence[str] = (),
) -> CheckImages:
    """Images for the files of a trained network.

    Args:
        run: folder whose ``config.yaml`` names the data.
        trained: the network.
        source: what they are; None takes validation images where the data are there.
        changes: arguments of the datamodule in place of the run's own, such as ``root``; with one
            the data must be there.
        trusted: modules, besides ours, that ``config.yaml`` may name classes of.

    Raises:
        UserError: when the data have other classes than the network, or do not fit it.
    """
    known = trained.data or DataDescription.of_classes(trained.spec.classes)
    if source != "generated":
        try:
            data = _run_data(run / "config.yaml", changes, trusted)
            images = _validation(data, trained, run)
            known = _known(trained.data, data.description)
            return CheckImages(images, "validation", known, data)
        except UserError as error:
            if not isinstance(error, MissingDataError) or source or changes:
                raise UserError(f"{error}; or --images generated, which needs no data") from None
            say(f"no data: {error}; files are checked on generated images")
    return CheckImages(generated_images(trained.spec), "generated", known)


def _run_data(path: Path, changes: Mapping[str, Any], trusted: Sequence[str]) -> RunData:
    """The data of a run, from its saved configuration."""
    config = read_yaml(path, "name a run's folder")
    check_imports(config, path, trusted)
    try:
        settings = typed_object("data", typed_object("the content", config).get("data"))
        given = typed_object("data.init_args", settings.get("init_args") or {})
    except UserError as error:
        raise UserError(f"{path} does not describe data: {error}") from None
    changed = {**settings, "init_args": {**given, **changes}}
    return RunData(make_data(changed, str(path)), "retrain", seed=0)


def _known(trained: DataDescription | None, now: DataDescription) -> DataDescription:
    """What the training told of its data, and what only the data of today tell."""
    if trained is None:
        return now
    classes = now.classes if trained.is_numbered else trained.classes
    return DataDescription(classes, trained.digest, trained.preprocessing or now.preprocessing)


def _validation(data: RunData, trained: TrainedNetwork, run: Path) -> Tensor:
    _check_classes(data.classes, trained, run)
    data.prepare_data()
    data.setup("validate")
    _say_change(data, trained, run)
    return validation_images(data, trained.spec, run)


def _say_change(data: RunData, trained: TrainedNetwork, run: Path) -> None:
    """Say what has become of the images since the training, where both are known."""
    digest = trained.data.digest if trained.data else ""
    now = DataRecord(data.classes, data.records or ())
    if not digest or not now.images or now.digest == digest:
        return
    before = read_record([run], digest)
    known = str(DataChange.between(before, now)) if before else ""
    without = f"how is unknown, as {record_file(run, digest)} is missing"
    say(f"data: changed since the training: {known or without}")


def _check_classes(now: Sequence[str], trained: TrainedNetwork, run: Path) -> None:
    """Refuse data of other classes: the network's outputs would be called by wrong names."""
    way_out = "give the run's own data with --data.root"
    if trained.data is None:
        if len(now) != trained.spec.classes:
            raise UserError(
                f"the data of {run / 'config.yaml'} have {len(now)} classes, but the"
                f" network was trained on {trained.spec.classes}: {way_out}"
            )
        return
    before = trained.data.classes
    if tuple(now) == before or (trained.data.is_numbered and len(now) == len(before)):
        return
    added = [name for name in now if name not in before]
    gone = [name for name in before if name not in now]
    said = [f"have a class {added[0]!r} that was not trained"] if added else []
    said += [f"lack the class {gone[0]!r}"] if gone else []
    raise UserError(
        f"the data of {run / 'config.yaml'} {' and '.join(said) or 'order classes otherwise'}"
        f" ({len(now)} classes, trained on {len(before)}): {way_out}"
    )


def validation_images(data: RunData, spec: NetSpec, run: Path) -> Tensor:
    """Up to ``NUM_IMAGES`` images (N, 3, R, R), spread over the validation split.

    Raises:
        UserError: when they do not fit the network.
    """
    loader = data.inner.val_dataloader()
    total = len(loader.dataset)
    number = min(NUM_IMAGES, total)
    chosen = Subset(loader.dataset, [index * total // number for index in range(number)])
    batches = DataLoader(chosen, batch_size=32, collate_fn=loader.collate_fn)
    # Hooks in which a user's datamodule may normalise; they take a batch and a dataloader's index.
    prepared = (data.inner.on_before_batch_transfer(batch, 0) for batch in batches)
    parts = [data.inner.on_after_batch_transfer(batch, 0)[0] for batch in prepared]
    # A detector's batches are lists.
    images = torch.cat([torch.stack(part) if isinstance(part, list) else part for part in parts])
    side = spec.resolution
    if images.shape[1:] != (3, side, side):
        raise UserError(
            f"the data of {run / 'config.yaml'} have images {tuple(images.shape[1:])}, but the"
            f" network takes {(3, side, side)}: give the run's own data"
        )
    return images


def generated_images(spec: NetSpec) -> Tensor:
    """Normalised images (N, 3, R, R) of smooth colours and noise, always the same."""
    generator = torch.Generator().manual_seed(0)
    side = spec.resolution
    coarse = torch.randn(NUM_IMAGES, 3, *[max(2, side // 8)] * 2, generator=generator)
    smooth = functional.interpolate(coarse, (side, side), mode="bilinear", align_corners=False)
    return smooth + 0.3 * torch.randn(smooth.shape, generator=generator)
