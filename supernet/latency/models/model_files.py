"""ModelFiles: parts and networks as files for a runtime that reads files."""

from __future__ import annotations

from pathlib import Path

from supernet.cost.parts import Part
from supernet.errors import UserError
from supernet.files.writing import write_atomic
from supernet.latency.models.subject import OnnxFile, Subject, refuse_file, short_key
from supernet.space.spec import NetSpec


class ModelFiles:
    """A folder of model files, each made when it is first asked for.

    An onnx file is built by hand in milliseconds; its weights are ConstantOfShape nodes, so that
    it is small. A pte or tflite file goes through the exporter and takes seconds.

    Args:
        folder: where they lie; files of an earlier build are used again.
        kind: onnx, pte (ExecuTorch with XNNPACK) or tflite (LiteRT).
        precision: fp32, or int8 for onnx.
    """

    def __init__(self, folder: Path, kind: str, precision: str = "fp32") -> None:
        self.folder, self.kind, self.precision = folder, kind, precision

    def path(self, subject: Subject) -> Path:
        """The file of a subject."""
        if isinstance(subject, OnnxFile) and self.kind == "onnx":
            return subject.path
        found = refuse_file(subject, f"a device of {self.kind} files")
        path = self.folder / f"{short_key(found)}.{self.precision}.{self.kind}"
        if not path.exists():
            content = self._content(found)
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"cannot make {self.folder}: {error.strerror}") from None
            write_atomic(path, content)
        return path

    def _content(self, subject: Part | NetSpec) -> bytes:
        if self.kind == "onnx":
            return self._onnx(subject)
        try:
            return _pte(subject) if self.kind == "pte" else _tflite(subject)
        except Exception as error:  # noqa: BLE001 - the exporters' errors share no base class
            reason = " ".join(str(error).split())[:150]
            raise UserError(
                f"the exporter cannot make a {self.kind} file of {short_key(subject)}"
                f" ({type(error).__name__}: {reason})"
            ) from None

    def _onnx(self, subject: Part | NetSpec) -> bytes:
        from supernet.latency.models.onnx_int8 import model_of

        return model_of(subject, self.precision).SerializeToString()


def _pte(subject: Part | NetSpec) -> bytes:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    from supernet.latency.models.torch_modules import example, module_of

    program = torch.export.export(module_of(subject), (example(subject),))
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    return bytes(lowered.to_executorch().buffer)


def _tflite(subject: Part | NetSpec) -> bytes:
    import litert_torch

    from supernet.latency.models.torch_modules import example, module_of

    return bytes(litert_torch.convert(module_of(subject), (example(subject),)).model_content())
