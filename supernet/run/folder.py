"""A run's folder: what may start in it, its metrics file, and the checkpoint to continue from."""

from collections.abc import Sequence
from pathlib import Path

from supernet.errors import UserError

CONTINUE = "--ckpt_path last"
"""The option that continues a run."""
WAY_ON = f"the same command and {CONTINUE}"


def way_on(arguments: Sequence[str]) -> str:
    """How a command with these arguments goes on: a test has nothing to continue from."""
    return "the same command" if list(arguments[:1]) == ["test"] else WAY_ON


def last_checkpoint(folder: Path) -> Path:
    """Path of the newest state of a run."""
    return folder / "checkpoints" / "last.ckpt"


def starting_point(folder: Path, ckpt_path: str | None) -> str | None:
    """The checkpoint from which ``fit`` starts in a run folder, None for step 0.

    The user asks for nothing, ``last``, ``auto`` or a file; None is also the answer to ``last`` in
    a run that was stopped before its first checkpoint. With ``auto`` one command line starts a run
    and continues it, as the job of a scheduler needs that is put back into the queue.

    Raises:
        UserError: on starting anew where a run lies, or continuing where none does.
    """
    last = last_checkpoint(folder)
    if ckpt_path == "auto":
        return str(last) if last.exists() else None
    if ckpt_path is None and last.exists():
        raise UserError(
            f"{folder} already holds a run: continue it with {CONTINUE}, or name another --run"
        )
    if ckpt_path == "last":
        if last.exists():
            return str(last)
        if (folder / "config.yaml").exists():
            return None
        raise UserError(f"nothing to continue in {folder}: start without {CONTINUE}")
    if ckpt_path is not None and not Path(ckpt_path).is_file():
        raise UserError(f"no checkpoint at {ckpt_path}: give a file, or {CONTINUE}")
    return ckpt_path


def make_folder(folder: Path) -> None:
    """Make a run folder unless it is there.

    Raises:
        UserError: when a file has its name or its place cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the run folder {folder} ({error.strerror}): name another --run"
        ) from None


def check_checkpoint(path: str | Path) -> None:
    """Refuse what no run has written, or not wholly, before anything long begins.

    Raises:
        UserError: naming the file and what is wrong.
    """
    # Here, so that the option's name can be had without torch.
    from supernet.network.checkpoint import load_checkpoint

    way_out = f"give another --ckpt_path, or start anew in another --run without {CONTINUE}"
    try:
        checkpoint = load_checkpoint(path)
    except Exception as error:  # noqa: BLE001 - a broken file may raise anything
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UserError(f"{path} is no whole checkpoint ({reason}): {way_out}") from None
    needed = ("state_dict", "optimizer_states", "loops", "pytorch-lightning_version")
    held = checkpoint if isinstance(checkpoint, dict) else {}
    missing = [name for name in needed if name not in held]
    if missing:
        raise UserError(f"{path} is not the checkpoint of a run, it has no {missing[0]}: {way_out}")
