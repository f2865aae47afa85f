"""ModelFiles: layers and networks as files for a runtime that reads files."""

import contextlib
import hashlib
import re
from pathlib import Path

from supernet.cost.timed_layers import TimedLayer
from supernet.errors import UserError, one_line
from supernet.files.writing import write_atomic
from supernet.latency.models.subject import NetworkFile, Subject, refuse_file, subject_key
from supernet.space.spec import NetSpec

MARK = ".mnasnet-model-files"
"""File in each folder that was made here: no other folder is written to or removed."""
_NAME = re.compile(r".+\.(fp32|int8)\.(onnx|pte|tflite)")


class ModelFiles:
    """A folder of model files, each made when it is first asked for.

    An onnx file is built by hand in milliseconds; its weights are ConstantOfShape nodes, so that
    it is small. A pte or tflite file goes through the exporter and takes seconds.

    Args:
        folder: where they lie; files of an earlier build are used again.
        kind: onnx, pte (ExecuTorch with XNNPACK) or tflite (LiteRT).
        precision: fp32, or int8 for onnx and pte.

    Raises:
        UserError: when the folder is the user's own.
    """

    def __init__(self, folder: Path, kind: str, precision: str = "fp32") -> None:
        self.folder, self.kind, self.precision = folder, kind, precision
        if (folder.exists() or folder.is_symlink()) and not _is_ours(folder):
            raise UserError(
                f"{folder} was not made by this program, which keeps its model files there: move it"
                " away, or give the table another name"
            )

    def path(self, subject: Subject) -> Path:
        """The file of a subject."""
        if isinstance(subject, NetworkFile) and subject.path.suffix == f".{self.kind}":
            return subject.path
        found = refuse_file(subject, f"a device of {self.kind} files")
        path = self.folder / f"{file_stem(found)}.{self.precision}.{self.kind}"
        if not path.exists():
            content = self._content(found)
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                (self.folder / MARK).touch()
            except OSError as error:
                raise UserError(f"cannot make {self.folder}: {error.strerror}") from None
            write_atomic(path, content)
        return path

    def _content(self, subject: TimedLayer | NetSpec) -> bytes:
        if self.kind == "onnx":
            from supernet.latency.models.onnx_int8 import model_of

            return model_of(subject, self.precision).SerializeToString()
        from supernet.latency.models import torch_modules

        form = "_int8" if self.precision == "int8" else ""
        program = getattr(torch_modules, f"{self.kind}{form}_program")
        try:
            return program(torch_modules.module_of(subject), torch_modules.example(subject))
        except Exception as error:  # noqa: BLE001 - the exporters' errors share no base class
            reason = one_line(error)[:150]
            raise UserError(
                f"the exporter cannot make a {self.kind} file of {file_stem(subject)}"
                f" ({type(error).__name__}: {reason})"
            ) from None


def remove_model_files(folder: Path) -> None:
    """Remove what a ModelFiles has made, and the folder if nothing else lies there."""
    if not _is_ours(folder):
        return
    for path in folder.iterdir():
        if _NAME.fullmatch(path.name) and (path.is_file() or path.is_symlink()):
            path.unlink()
    (folder / MARK).unlink()
    with contextlib.suppress(OSError):  # something of the user's lies there
        folder.rmdir()


def _is_ours(folder: Path) -> bool:
    return not folder.is_symlink() and (folder / MARK).is_file()


def file_stem(subject: TimedLayer | NetSpec) -> str:
    """A name for the file of a subject, without its ending."""
    key = subject_key(subject)
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return f"network_{digest}" if isinstance(subject, NetSpec) else f"{key}_{digest[:6]}"
