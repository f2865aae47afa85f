"""Costs: the models that price networks, and targets as numbers of their units. No torch."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path

from supernet.cost.model import CostModel, CostTable
from supernet.errors import UserError
from supernet.space.mnasnet import MnasSpace, reference_spec, reference_specs

NUM_SAMPLES = 2000
"""Networks from which a quantile of a space is estimated: one of 40 % to about +-1 %."""


def cost_model(
    unit: str, space: MnasSpace, table: str | Path | None, cache_dir: str | Path
) -> CostModel:
    """What prices the networks of a space.

    Args:
        unit: ms, macs or params.
        space: where to search.
        table: a latency table to load, another machine's perhaps; without one this machine's is
            measured, or found in ``cache_dir``.
        cache_dir: a folder for measured tables.

    Raises:
        UserError: for another unit, for a table without ms, and when the table cannot be had.
    """
    if unit != "ms":
        if table:
            raise UserError(f"the latency table {table} prices ms, not {unit}: drop one of the two")
        return CostTable(unit)
    # ONNX and its runtime take a second to load and are needed for latency only.
    from supernet.latency.table.table import LatencyTable
    from supernet.latency.this_machine import table_for

    if table:
        loaded = LatencyTable.read(table)
        loaded.check_covers(space)
        return loaded
    return table_for(space, reference_specs(space), cache_dir)


def quantile(table: CostModel, space: MnasSpace, q: float, seed: int = 0) -> float:
    """The cost that a share ``q`` in [0, 1] of uniformly drawn architectures does not exceed."""
    rng = random.Random(seed)
    costs = sorted(table.predict(space.spec(space.sample(rng))) for _ in range(NUM_SAMPLES))
    return costs[min(NUM_SAMPLES - 1, int(q * NUM_SAMPLES))]


def resolve_target(text: str | float, table: CostModel, space: MnasSpace) -> float:
    """A target as a number in the table's unit.

    Args:
        text: a number; ``0.8x mnasnet_a1``, that published network at the space's resolution,
            classes and stem stride; or ``p40``, a percentile of the space.
        table: what prices networks.
        space: where to search.

    Raises:
        UserError: for anything else, or a number that is not positive.
    """
    text = str(text).strip()
    if relative := re.fullmatch(r"([0-9]*\.?[0-9]+)\s*x\s+(\S+)", text):
        spec = reference_spec(relative[2], space)
        return _positive(text, float(relative[1]) * table.predict(spec))
    if percentile := re.fullmatch(r"p([0-9]*\.?[0-9]+)", text):
        if float(percentile[1]) > 100:
            raise UserError(f"target {text!r}: a percentile lies between p0 and p100")
        return quantile(table, space, float(percentile[1]) / 100)
    try:
        return _positive(text, float(text))
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"target {text!r} is neither a number of {table.unit}, nor relative as in"
            " '0.8x mnasnet_a1', nor a percentile of the space as in 'p40'"
        ) from None


def _positive(text: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise UserError(f"target {text!r} must be a positive number")
    return value
