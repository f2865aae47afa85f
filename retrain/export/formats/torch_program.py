"""torch.export: a program that torch loads without any of our code."""

import json
from pathlib import Path

import torch

from retrain.export.formats.metadata import Metadata
from retrain.export.formats.shipment import Format, Runner, Shipment

EXTRA_FILE = "metadata.json"
"""What a program keeps its metadata in."""


def write_pt2(shipment: Shipment, path: Path) -> None:
    """A torch.export program for any batch size; it needs torch, but none of our code."""
    extra = {EXTRA_FILE: json.dumps(shipment.metadata, allow_nan=False)}
    torch.export.save(shipment.program(), path, extra_files=extra)


def open_pt2(path: Path) -> Runner:
    """Open the program as a user would."""
    module = torch.export.load(path).module()
    return lambda images: (module(images),)


def read_pt2_metadata(path: Path) -> Metadata:
    """The program's extra file ``metadata.json``."""
    extra = {EXTRA_FILE: ""}
    torch.export.load(path, extra_files=extra)
    return json.loads(extra[EXTRA_FILE])


PT2 = Format("pt2", write_pt2, open_pt2, read_pt2_metadata, "torch")
