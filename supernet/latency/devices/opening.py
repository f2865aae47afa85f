"""Opening the device of a backend, once what it needs is known to be there."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from supernet.errors import UserError
from supernet.latency.devices.android_phone import Phone
from supernet.latency.devices.backends import Backend
from supernet.latency.devices.benchmark_program import CommandDevice
from supernet.latency.devices.device import Device
from supernet.latency.devices.runtimes import Executorch, OnnxRuntime, Torch
from supernet.latency.models.model_files import ModelFiles, remove_model_files

_EXECUTORCH = ("executorch", "`pip install mnasnet-search[executorch]`")
EXTRAS = {
    "executorch": _EXECUTORCH,
    "pte": _EXECUTORCH,
    "tflite": ("litert_torch", "an environment with torch below 2.15 and litert-torch"),
}
"""Module that a backend or a kind of file needs, and how to get it."""


def open_device(settings: Backend, models: Path) -> Device:
    """The device; what it needs is checked now, and started when it is first asked.

    ``models`` is a folder for the model files of backends that need them.

    Raises:
        UserError: when a package, a program or the device is missing.
    """
    for need in (settings.name, settings.files):
        if need in EXTRAS and importlib.util.find_spec(EXTRAS[need][0]) is None:
            raise UserError(f"{need} needs {EXTRAS[need][1]}")
    if settings.name == "onnxruntime":
        return OnnxRuntime(settings)
    if settings.name == "torch":
        return Torch(settings)
    if settings.name == "executorch":
        return Executorch(settings, ModelFiles(models, "pte", settings.precision))
    files = ModelFiles(models, settings.files, settings.precision)
    return Phone(settings, files) if settings.name == "adb" else CommandDevice(settings, files)


@contextmanager
def device_of_table(settings: Backend, path: Path) -> Iterator[Device]:
    """What measures the table at ``path``; its model files are kept until all has gone well."""
    models = path.with_suffix(".models")
    with open_device(settings, models) as device:
        yield device
    remove_model_files(models)
