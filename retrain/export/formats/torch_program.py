"""torch.export: a program that torch loads without any of our code."""

import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from retrain.export.formats.metadata import Metadata
from retrain.export.formats.shipment import Format, Quantized, Runner, Shipment, as_outputs

EXTRA_FILE = "metadata.json"
"""What a program keeps its metadata in."""


def write_pt2(shipment: Shipment, path: Path) -> None:
    """A torch.export program for any batch size; it needs torch, but none of our code."""
    _save(shipment, shipment.metadata, path)


def _save(shipment: Shipment, metadata: Metadata, path: Path) -> None:
    extra = {EXTRA_FILE: json.dumps(metadata, allow_nan=False)}
    torch.export.save(shipment.program(), path, extra_files=extra)


def of_int8(shipment: Shipment, network: nn.Module) -> Quantized:
    """The program of a network in int8, whose operators torch knows once torchao is imported."""
    small = replace(shipment, network=network)
    return Quantized(
        lambda images: (network(images),), lambda metadata, path: _save(small, metadata, path)
    )


def open_pt2(path: Path) -> Runner:
    """Open the program as a user would."""
    module = torch.export.load(path).module()
    return lambda images: as_outputs(module(images))


def read_pt2_metadata(path: Path) -> Metadata:
    """The program's extra file ``metadata.json``."""
    extra = {EXTRA_FILE: ""}
    torch.export.load(path, extra_files=extra)
    return json.loads(extra[EXTRA_FILE])


PT2 = Format("pt2", write_pt2, open_pt2, read_pt2_metadata, "torch", of_int8=of_int8)
