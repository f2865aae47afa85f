"""Checkpoints of every training, and how it is stopped: between two steps, with one."""

import io
import time
import traceback
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, Timer, WeightAveraging
from pytorch_lightning.plugins import TorchCheckpointIO

from supernet.command.output import say
from supernet.command.stopping import STOP, Stopped
from supernet.errors import UserError, one_line
from supernet.files.writing import replacing
from supernet.run.distributed import HostExchange
from supernet.run.folder import CONTINUE, last_checkpoint, make_folder

WAY_ON = f"the checkpoint before is whole: free some space and go on with {CONTINUE}"


class CheckpointFiles(TorchCheckpointIO):
    """Writes checkpoints for Lightning.

    Its own way leads through $TMPDIR, which may be small or on another disk, where moving a file is
    copying it: a kill would leave half a checkpoint under its name.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a file and its folder.

        Raises:
            UserError: when the disk is full or the folder cannot be written.
        """
        # In memory first: torch hides what went wrong with a file.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        path = Path(path)
        make_folder(path.parent)
        with replacing(path, WAY_ON) as stream:
            stream.write(content.getbuffer())


class LastCheckpoint(Checkpoint):
    """Writes ``checkpoints/last.ckpt`` at the start, every ``interval_s`` seconds, and at the end.

    A signal that asks for the end (``supernet.command.stopping``) ends training on all ranks after
    the step that one of them is at, with a checkpoint, and ends a validation at its next batch; a
    second one ends it at once. Python would raise an error wherever it happens to be, also where it
    is lost: in a destructor, or in a callback from C.

    The file is replaced in one step: whenever the process dies, a whole checkpoint remains.
    Lightning's ModelCheckpoint would also save between the batches of one step, and before a
    validation that a run which continues would skip.
    """

    def __init__(self, folder: Path, interval_s: float = 30.0) -> None:
        self.path, self.interval_s = last_checkpoint(folder), interval_s
        self._saved_at = 0.0
        self._validating = False
        self._exchange: HostExchange | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Have checkpoints written where they lie, unless the user writes them another way.

        Signals stay ours, where this process answers any.
        """
        if STOP.is_listening:
            leave_signals_to_us(trainer)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = CheckpointFiles()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the fresh state, unless it was just loaded."""
        STOP.hold()
        self._exchange = HostExchange()
        if not self.path.exists():
            self._save(trainer)
        self._saved_at = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save when the interval has passed on rank 0, between two optimizer steps."""
        accumulating = (batch_idx + 1) % trainer.accumulate_grad_batches != 0
        # The last batch of an epoch ends a step.
        if accumulating and not trainer.is_last_batch:
            trainer.should_stop = False  # by max_time: its timer will say so again
        # A run that continues after an epoch's last batch skips that epoch's validation.
        elif not trainer.is_last_batch:
            self._save_when_due(trainer, after_step=True)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count no batch twice that a stop has had repeated."""
        total: Any = trainer.fit_loop.epoch_loop.val_loop.batch_progress.total
        total.ready = total.started = total.completed

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Stop in the middle of a validation, which a run that continues repeats."""
        # Ranks may have different numbers of batches: together they stop after the last one.
        if STOP.asked and trainer.state.fn == "fit" and trainer.world_size == 1:
            if not trainer.sanity_checking:
                self._save_before_validation(trainer, pl_module)
            raise Stopped(STOP.asked)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after the validation, when the interval has passed."""
        # An epoch that max_time has cut short counts as whole by now, and has its checkpoint.
        if trainer.is_last_batch:
            self._save_when_due(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the final weights."""
        # By now the average has taken the place of the weights, with which a run could go on.
        if not steps_left(trainer):
            self._save(trainer)
        STOP.release()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say so when trainer.max_time has ended the training before its last step."""
        if left := steps_left(trainer):
            done = trainer.global_step
            say(
                f"trainer.max_time is over after {done} of {done + left} steps: go on with"
                f" {CONTINUE} and a longer --trainer.max_time"
            )

    def _save_when_due(self, trainer: pl.Trainer, after_step: bool = False) -> None:
        due = time.monotonic() - self._saved_at >= self.interval_s
        # Clocks differ, and all ranks take part in saving.
        self._exchange = self._exchange or HostExchange()
        wishes = int(due and trainer.is_global_zero), int(STOP.asked or 0)
        save, stop = self._exchange.largest(*wishes)
        if save or stop or steps_left(trainer):
            if after_step:
                # Lightning does it after this hook: a run that goes on from here never would.
                trainer._logger_connector.update_train_step_metrics()
            self._save(trainer)
        if stop:
            raise Stopped(stop)

    def _save(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self.path, weights_only=False)
        self._saved_at = time.monotonic()

    def _save_before_validation(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save what a validation under way has started from."""
        for callback in callbacks_of(trainer):
            if isinstance(callback, WeightAveraging):
                callback.on_validation_epoch_end(trainer, pl_module)  # the trained weights again
        self._validating = True
        self._save(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Have a validation that is stopped repeated from its first batch."""
        if self._validating:
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            before = progress["total"]["completed"] - progress["current"]["completed"]
            for name, done in (("total", before), ("current", 0)):
                # Lightning knows by a batch without an end that it has not validated yet.
                progress[name] = {"ready": done + 1, "started": done + 1}
                progress[name] |= {"processed": done, "completed": done}
            progress["is_last_batch"] = False


def leave_signals_to_us(trainer: pl.Trainer) -> None:
    """Have Lightning take no signal, and not ask in each step whether it has got one.

    All processes would wait for the first one's answer, each for its device; and the first one, in
    its handler, for all others, wherever they are.
    """
    untyped: Any = trainer
    untyped._signal_connector.register_signal_handlers = _do_nothing
    loop: Any = trainer.fit_loop.epoch_loop
    if hasattr(loop, "_broadcast_sigterm_tensor"):
        loop._broadcast_sigterm_tensor = _do_nothing


def _do_nothing() -> None:
    """Stands in for a method that has nothing to do."""


def steps_left(trainer: pl.Trainer) -> int:
    """Steps that trainer.max_time has cut off; 0 where nothing or early stopping has done so."""
    callbacks = callbacks_of(trainer)
    early = [one for one in callbacks if isinstance(one, EarlyStopping)]
    if any(one.wait_count >= one.patience for one in early):
        return 0
    if not trainer.should_stop or not any(isinstance(one, Timer) for one in callbacks):
        return 0
    return max(0, int(trainer.estimated_stepping_batches) - trainer.global_step)


def callbacks_of(trainer: pl.Trainer) -> list[pl.Callback]:
    """A trainer's callbacks, which its type does not tell of."""
    untyped: Any = trainer
    return list(untyped.callbacks)


def explain_restoring(error: Exception) -> None:
    """Say that a checkpoint cannot be restored, where that is where Lightning has failed.

    Raises:
        UserError: with the way out.
    """
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if frame.filename.endswith("checkpoint_connector.py")]
    if any(frame.name.lstrip("_").startswith(("restore", "resume")) for frame in inside) and (
        not isinstance(error, (UserError, OSError))
    ):
        raise UserError(
            f"the checkpoint cannot be restored ({type(error).__name__}: {one_line(error)[:200]}):"
            " give another --ckpt_path, or start anew in another --run without it"
        ) from None
