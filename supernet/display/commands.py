"""The commands show, compare and size: what they read and print. No torch.

Tables are for people; ``--json`` prints the same numbers for programs.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from supernet.arch_file import ArchFile, is_file_name, read_arch
from supernet.command.output import print_json, print_table
from supernet.cost.counts import count
from supernet.display.rows import network_rows
from supernet.display.tables import (
    SAME,
    ShownNetwork,
    network_table,
    parts_table,
    spaces_table,
    totals_table,
)
from supernet.errors import UserError
from supernet.space.published import published, published_spec
from supernet.space.spec import NetSpec

if TYPE_CHECKING:
    from supernet.latency.table.table import LatencyTable

DATA_FIELDS = ("resolution", "classes", "stem_stride")
"""Fields of a published network that a data set decides."""
_FOUND = ("predicted", "target", "unit", "accuracy", "reward", "device", "table", "seed", "step")


def show_network(options: argparse.Namespace) -> None:
    """Print one network as a table or as JSON, and draw it when asked to.

    Raises:
        UserError: for a network that is neither a file nor a name, and an unusable picture.
    """
    scale = _given(options, "width", *DATA_FIELDS)
    if is_file_name(options.network):
        _refuse_scale(scale, options.network)
    network = _read_network(options.network, scale)
    if options.plot:
        # Loaded on demand: matplotlib takes longer than everything else in this command.
        from supernet.display.figures import draw_network, save_figure

        save_figure(draw_network(network.spec, network.name), options.plot)
    if options.json:
        print_json(network_object(network))
        return
    spec = network.spec
    print_table(network_table(spec))
    sys.stdout.write(f"{network.name}: {spec.resolution} px, {spec.classes} classes\n")
    if network.found:
        sys.stdout.write(_found_line(network.found))


def compare_networks(options: argparse.Namespace) -> None:
    """Print networks side by side, as tables or as JSON.

    Raises:
        UserError: for a network that is neither a file nor a name, for an unusable latency table,
            and for a network whose parts the table lacks.
    """
    table = None
    if options.table is not None:
        # Loaded on demand: only a latency needs it.
        from supernet.latency.table.table import LatencyTable

        table = LatencyTable.read(options.table)
    networks, note = _read_networks(options, table)
    if options.json:
        used = (
            {"file": options.table, "device": table.device, "hash": table.hash} if table else None
        )
        print_json({"table": used, "networks": [_compared_object(one) for one in networks]})
        return
    if len(networks) > 1:
        print_table(parts_table(networks))
        sys.stdout.write(f"{SAME} is what the first network has\n\n")
    print_table(totals_table(networks))
    sys.stdout.write("layers: those of the stages, without stem, head and classifier\n" + note)
    if table:
        sys.stdout.write(_table_line(options.table, table))


def show_sizes(options: argparse.Namespace) -> None:
    """Print how many networks each of ``options.spaces`` holds, which are files of spaces."""
    print_table(spaces_table(options.spaces))


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The arguments of ``NetSpec.scaled`` that the command line gives."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _refuse_scale(scale: dict[str, Any], name: str) -> None:
    """Refuse to scale what a search has found at one scale, naming the option."""
    if scale:
        option = next(iter(scale))
        raise UserError(
            f"--{option} is for published names ({', '.join(published)}): {name} holds its own"
        )


def _read_network(
    name: str, scale: dict[str, Any], table: LatencyTable | None = None
) -> ShownNetwork:
    """A network of a file, or a published one at a scale."""
    found = read_arch(name) if is_file_name(name) else None
    spec = found.spec if found else published_spec(name).scaled(**scale)
    try:
        predicted = table.predict(spec) if table else None
        if found and table and found.table == table.hash:
            _check_prediction(found, table.predict(spec))
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    return ShownNetwork(name, spec, found, predicted)


def _check_prediction(found: ArchFile, ms: float) -> None:
    """Refuse a file whose prediction is not that of the table that it names."""
    if not math.isclose(found.predicted, ms, rel_tol=1e-6):
        raise UserError(
            f"predicted is {found.predicted} ms, but its table gives {ms}: the file was changed"
            " after the search wrote it, restore it or search again"
        )


def _read_networks(
    options: argparse.Namespace, table: LatencyTable | None
) -> tuple[list[ShownNetwork], str]:
    """The networks as the user listed them, and a line that says what the names have taken."""
    names = options.networks
    files = [name for name in names if is_file_name(name)]
    scale = _given(options, *DATA_FIELDS)
    if len(files) == len(names):
        _refuse_scale(scale, names[0])
    lent, lender = _lent_scale(files, options.table, table)
    taken = {key: value for key, value in lent.items() if key not in scale}
    networks = [_read_network(name, {**taken, **scale}, table) for name in names]
    if not taken or len(files) == len(names):
        return networks, ""
    keys = ", ".join(taken).replace("_", " ")
    return networks, f"published names: {keys} of {lender}\n"


def _lent_scale(
    files: Sequence[str], path: str, table: LatencyTable | None
) -> tuple[dict[str, int], str]:
    """Resolution, classes and stem stride for the published names, and where they are from.

    A search treats the networks that its target names in the same way, and a table prices no
    others.
    """
    if files:
        spec = read_arch(files[0]).spec
        return {key: getattr(spec, key) for key in DATA_FIELDS}, files[0]
    space = table.fingerprint.get("space") if table else None
    if not isinstance(space, dict):
        return {}, ""
    values = {key: space.get(key) for key in DATA_FIELDS}
    return {key: n for key, n in values.items() if type(n) is int and n > 0}, path


def _found_line(found: ArchFile) -> str:
    device = f" on {found.device}" if found.device else ""
    measured = found.measured
    return (
        f"{found.judged_as} accuracy {found.accuracy:.4f},"
        f" predicted {found.predicted:,g} {found.unit}"
        f" of at most {found.target:,g} {found.unit}{device}"
        + (f"; measured {measured.ms:,g} ms, {measured.comparison}\n" if measured else "\n")
        + _alarm_line(found)
    )


def _alarm_line(found: ArchFile) -> str:
    if not found.chance or not found.chance.alarm:
        return ""
    return f"alarm: {found.chance.words(found.accuracy)}\n"


def _table_line(path: str, table: LatencyTable) -> str:
    validation = table.validation
    return (
        f"latency: predicted for {table.device}, from {path}; mean error"
        f" {validation.predicted.mape:.1%} on {validation.networks} measured networks, whose own"
        f" noise is {validation.noise.floor:.1%}\n"
    )


def network_object(network: ShownNetwork) -> dict[str, Any]:
    """A network's table as plain values, and what a search knew of it."""
    spec, found, total = network.spec, network.found, count(network.spec)
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


def _compared_object(network: ShownNetwork) -> dict[str, Any]:
    return {
        "name": network.name,
        "stem_stride": network.spec.stem_stride,
        "layers": network.layers,
        "predicted_ms": network.predicted_ms,
        **network_object(network),
    }


def _timm_block_strings(spec: NetSpec) -> list[str] | None:
    """The stages in timm's grammar; None where timm lacks a block."""
    try:
        return spec.block_strings("timm")
    except UserError:
        return None
