"""DataCheck: whether a run's data are those that its weights, and its search, have learned from."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from supernet.arch_file import read_arch
from supernet.arch_records import code_digest, package_versions
from supernet.command.output import say
from supernet.data.records import ImageRecord, given_records
from supernet.data.run_data import RunData
from supernet.data_description import DataDescription
from supernet.errors import UserError
from supernet.run.data_record import (
    FOLDER,
    TRAINED,
    DataChange,
    DataRecord,
    check_classes,
    read_record,
    saved_data,
    write_record,
)
from supernet.run.distributed import check_ranks_agree

_AS_TRAINED = "give the data that the run was trained on, or start a new --run"


class DataCheck(pl.Callback):
    """Keeps the record of a run's images, and refuses to test on images that were trained on.

    Args:
        folder: of the run.
        checkpoint: with which it goes on, or which is tested.
    """

    def __init__(self, folder: Path, checkpoint: Path | None) -> None:
        self.folder, self.checkpoint = folder, checkpoint
        self.saved = saved_data(checkpoint) if checkpoint else None
        self.before: DataRecord | None = None
        """What the weights of the checkpoint have learned from, where it is known."""
        self.record: DataRecord | None = None
        """The data of a training, where they tell their images."""
        if checkpoint and self.saved and self.saved.digest:
            # A record's name says what it holds: a checkpoint that was copied here finds its own.
            runs = (checkpoint.parent.parent, checkpoint.parent, folder)
            self.before = read_record(runs, self.saved.digest)

    def prepare(self, data: RunData, verb: str) -> None:
        """Compare what is known before any image is read; a run goes on with the images it had.

        Raises:
            UserError: when the data have other classes than the run.
        """
        if self.saved:
            check_classes(self.saved.classes, data.classes)
        elif self.checkpoint:
            _check_dealt_alike(data, verb)
        keep = getattr(data.inner, "continue_with", None)
        if verb == "fit" and keep and self.before:
            keep(self.before.images)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Compare the images of a training or a test with those before.

        Raises:
            UserError: when a test would be of images that were trained on, a training would go on
                with others than it had, or a rank has other images, or other code, than rank 0.
        """
        data: Any = getattr(trainer, "datamodule", None)
        if not isinstance(data, RunData):
            return
        code = {"code": code_digest(), **package_versions()}
        check_ranks_agree({**code, "images": data.description.digest})
        if stage == "test":
            self._check_test(data)
        elif stage == "fit" and data.records is not None:
            self.record = DataRecord(data.classes, data.records)
            if self.checkpoint:
                self._check_continued(self.record, data)
            earlier = self.before.trained if self.before else self._earlier(pl_module, self.record)
            own = self.record.contents(*TRAINED)
            self.record = DataRecord(data.classes, data.records, sorted(earlier - own))
            _warn_of_refusal(self.record)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the record, on one process, before the first checkpoint names it."""
        if self.record and trainer.is_global_zero:
            write_record(self.folder, self.record)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the record also where no training was left to do."""
        self.on_train_start(trainer, pl_module)

    def _check_continued(self, now: DataRecord, data: RunData) -> None:
        """Refuse other training images than the run had; say what else has changed."""
        if not self.before:
            self._check_unrecorded(now)
            return
        change = DataChange.between(self.before, now)
        keeps = hasattr(data.inner, "continue_with")
        if not keeps and not _trains_alike(self.before, now):
            raise UserError(
                "the training images, or their boxes, are not those of the run to continue"
                f" ({str(change) or 'another order'}): {_AS_TRAINED}"
            )
        _say_change(change, "since the run began, which goes on with the images that it had")

    def _check_unrecorded(self, now: DataRecord) -> None:
        """Refuse data that may be others than those of a checkpoint without its record."""
        digest = self.saved.digest if self.saved else ""
        if digest and now.digest != digest:
            raise UserError(
                f"{self.checkpoint} was trained on images whose record {digest}.json.gz is not in"
                f" {self.folder / FOLDER}, and the data have changed since: restore the record"
                f" from a copy of the run, or {_AS_TRAINED}"
            )

    def _check_test(self, data: RunData) -> None:
        """Refuse test images that were trained on; say what has changed."""
        given = given_records(data.inner)
        now = None if given is None else DataRecord(data.classes, given)
        if not self.saved or not self.saved.digest:
            say(
                f"note: {self.checkpoint} does not tell the images that it was trained on, so that"
                " nobody knows whether the test images are among them"
            )
            return
        known = self.before
        if known is None:
            self._check_unrecorded(now or DataRecord((), ()))
            known = now
        assert known is not None
        test = data.test_records()
        if test is None:
            raise UserError(
                f"{type(data.inner).__name__} does not tell its test images by their content, so"
                " that nobody knows whether they were trained on: give it image_records() as"
                " docs/data.md says"
            )
        _refuse_seen(test, known)
        if now:
            _say_change(DataChange.between(known, now), "since the run was trained")

    def _earlier(self, pl_module: pl.LightningModule, now: DataRecord) -> set[str]:
        """Contents that the runs behind an architecture and its first weights have trained on."""
        found: set[str] = set()
        for file in map(Path, getattr(pl_module, "learned_from", ())):
            # A file that is missing is refused in better words by what loads it.
            said = _description(file) if file.is_file() else None
            if said is None or not said.digest:
                continue
            record = read_record((file.parent, file.parent.parent), said.digest)
            if record is None and said.digest == now.digest:
                continue
            if record is None:
                say(
                    f"note: the record of the images behind {file} is not in"
                    f" {file.parent / FOLDER}: nobody knows whether test images are among them"
                )
                continue
            if record.contents() & now.contents():
                _say_change(DataChange.between(record, now), f"since {file}")
            found |= record.trained
        return found


def _description(path: Path) -> DataDescription | None:
    """What a file that a training starts from says of the data behind it."""
    return saved_data(path) if path.suffix == ".ckpt" else read_arch(path).data


def _trains_alike(before: DataRecord, now: DataRecord) -> bool:
    """Whether the training images are the same in the same order, and so are boxes if known."""
    old, new = (
        [image for image in record.images if image.split in TRAINED] for record in (before, now)
    )
    return len(old) == len(new) and all(
        one.digest == other.digest and (not one.boxes or one.boxes == other.boxes)
        for one, other in zip(old, new, strict=True)
    )


def _say_change(change: DataChange, since: str) -> None:
    if str(change):
        say(f"data: {change} {since}")


def _warn_of_refusal(record: DataRecord) -> None:
    """Say before a training that its test will be refused, not after it."""
    earlier = set(record.earlier)
    test = [image for image in record.images if image.split == "test"]
    seen = sum(image.digest in earlier for image in test)
    if seen:
        say(
            f"note: {seen:,} of {len(test):,} test images were trained on by the search or before:"
            " test will refuse them, unless the data and the split_seed are the search's"
        )


def _refuse_seen(test: Sequence[ImageRecord], known: DataRecord) -> None:
    """Refuse test images that were trained on; tell those that chose the weights."""
    trained = known.trained
    seen = [image.path for image in test if image.digest in trained]
    if seen:
        raise UserError(
            f"{len(seen):,} of {len(test):,} test images were trained on, by this run or the search"
            f" before it, such as {seen[0]}: give the data and the split_seed of that training, or"
            " test images that no training has seen"
        )
    validated = known.contents("val")
    chose = sum(image.digest in validated for image in test)
    if chose:
        say(f"note: {chose:,} of {len(test):,} test images chose the weights: they are no test")


def _check_dealt_alike(data: RunData, verb: str) -> None:
    """Refuse a run from before images were dealt by their content: its splits are others."""
    dealt: Collection[str] = getattr(data.inner, "dealt_splits", ())
    if "test" in dealt or (verb == "fit" and dealt):
        raise UserError(
            "the run began before an image's split depended on its content, so that its"
            f" {'training' if verb == 'fit' else 'test'} images are no longer known: start a new"
            " --run" + ("" if verb == "fit" else ", or give test images in a folder test")
        )
