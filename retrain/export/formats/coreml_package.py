"""Core ML: a package for Apple's devices, converted anywhere and run on a Mac."""

import contextlib
import io
import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retrain.export.formats.metadata import Metadata, as_text, as_values
from retrain.export.formats.shipment import Format, Runner, Shipment, one_by_one

PLATFORM = "darwin"
"""``sys.platform`` of a Mac."""


def _coremltools() -> Any:
    """The package, which elsewhere than on a Mac complains of each part that is only there."""
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    import coremltools

    return coremltools


def write_coreml(shipment: Shipment, path: Path) -> None:
    """An ML program for one image from iOS 16 on, in float16, which the Neural Engine asks for.

    It is in float32 where float16 would spoil its outputs.
    """
    tools = _coremltools()
    precision = tools.precision.FLOAT32 if shipment.full_precision else tools.precision.FLOAT16
    image = torch.zeros(1, 3, shipment.side, shipment.side)
    program = torch.export.export(shipment.network, (image,)).run_decompositions({})
    with contextlib.redirect_stderr(io.StringIO()):  # bars of its progress
        model = tools.convert(
            program,
            outputs=[tools.TensorType(name, dtype=np.float32) for name in shipment.outputs],
            convert_to="mlprogram",
            minimum_deployment_target=tools.target.iOS16,
            compute_precision=precision,
            skip_model_load=True,
        )
    spec = model.get_spec()
    tools.utils.rename_feature(spec, spec.description.input[0].name, "images")
    model = tools.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True)
    model.user_defined_metadata.update(as_text(shipment.metadata))
    model.save(str(path))


def _opened(path: Path, skip_model_load: bool) -> Any:
    return _coremltools().models.MLModel(str(path), skip_model_load=skip_model_load)


def open_coreml(path: Path) -> Runner:
    """Open the package, on a Mac only; it takes one image at a time."""
    model = _opened(path, skip_model_load=False)

    names = [output.name for output in model.get_spec().description.output]

    def run(image: torch.Tensor) -> list[torch.Tensor]:
        answer = model.predict({"images": image.numpy()})
        return [torch.from_numpy(answer[name]) for name in names]

    return partial(one_by_one, run)


def read_coreml_metadata(path: Path) -> Metadata:
    """The package's ``user_defined_metadata``, without what the converter says of itself."""
    told = _opened(path, skip_model_load=True).user_defined_metadata
    return as_values({name: told[name] for name in told if not name.startswith("com.github.")})


COREML = Format(
    "mlpackage",
    write_coreml,
    open_coreml,
    read_coreml_metadata,
    "coremltools",
    half=True,
    platform=PLATFORM,
)
