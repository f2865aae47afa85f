"""The rows of a network, from stem to classifier, and the show command that prints them. No torch.

The table is for people; ``--json`` prints the same numbers for programs.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from supernet.arch_file import ArchFile, is_file_name, read_arch
from supernet.command.output import print_json, print_table
from supernet.cost.counts import count
from supernet.display.rows import network_rows, network_table
from supernet.errors import UserError
from supernet.space.published import published, published_spec
from supernet.space.spec import NetSpec

SCALE = ("resolution", "classes", "stem_stride")
"""What a data set decides of a published network."""
_FOUND = ("predicted", "target", "unit", "accuracy", "reward", "device", "table", "seed", "step")


def network_object(spec: NetSpec, found: ArchFile | None) -> dict[str, Any]:
    """The table as plain values; ``found`` adds what a search knew of the network."""
    total = count(spec)
    values: dict[str, Any] = {
        "resolution": spec.resolution,
        "classes": spec.classes,
        "params": total.params,
        "macs": total.macs,
        "block_strings": spec.block_strings(),
        "timm_block_strings": _timm_block_strings(spec),
        "parts": [dataclasses.asdict(row) for row in network_rows(spec)],
        "spec": dataclasses.asdict(spec),
    }
    if found:
        values["found"] = {name: getattr(found, name) for name in _FOUND}
        values["found"]["measured"] = found.measured and dataclasses.asdict(found.measured)
    return values


def _timm_block_strings(spec: NetSpec) -> list[str] | None:
    """The stages in timm's grammar; None where timm lacks a block."""
    try:
        return spec.block_strings("timm")
    except UserError:
        return None


def show(options: argparse.Namespace) -> None:
    """Print one network as a table or as JSON, and draw it when asked to.

    Raises:
        UserError: for a network that is neither a file nor a name, and an unusable picture.
    """
    spec, found = _load(options)
    if options.plot:
        _plot(spec, options.network, options.plot)
    if options.json:
        print_json(network_object(spec, found))
        return
    print_table(network_table(spec))
    sys.stdout.write(f"{options.network}: {spec.resolution} px, {spec.classes} classes\n")
    if found:
        sys.stdout.write(_found_line(found))


def _found_line(found: ArchFile) -> str:
    device = f" on {found.device}" if found.device else ""
    measured = found.measured
    return (
        f"supernet accuracy {found.accuracy:.4f}, predicted {found.predicted:,g} {found.unit}"
        f" of at most {found.target:,g} {found.unit}{device}"
        + (f"; measured {measured.ms:,g} ms, {measured.comparison}\n" if measured else "\n")
    )


def asked_scale(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The arguments of ``NetSpec.scaled`` that the command line gives."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def refuse_scale(scale: dict[str, Any], name: str) -> None:
    """Refuse to scale what a search has found at one scale.

    Raises:
        UserError: naming the option, when ``scale`` holds any.
    """
    if scale:
        option = next(iter(scale)).replace("_", "-")
        raise UserError(
            f"--{option} is for published names ({', '.join(published)}): {name} holds its own"
        )


def _load(options: argparse.Namespace) -> tuple[NetSpec, ArchFile | None]:
    scale = asked_scale(options, "width", *SCALE)
    if not is_file_name(options.network):
        return published_spec(options.network).scaled(**scale), None
    refuse_scale(scale, options.network)
    found = read_arch(options.network)
    return found.spec, found


def _plot(spec: NetSpec, title: str, path: Path) -> None:
    # Loaded on demand: matplotlib takes longer than everything else in this command.
    from supernet.display.network_figure import draw_network
    from supernet.figure_style import save_figure

    save_figure(draw_network(spec, title), path)
