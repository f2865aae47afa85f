"""A yaml file as plain values, or one line about it. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from supernet.errors import UserError


def read_yaml(path: str | Path, way_out: str) -> Any:
    """What a yaml file holds.

    Args:
        path: of the file.
        way_out: ends the line about a file that cannot be read: what to name instead.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    try:
        return yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot read {path} ({reason}): {way_out}") from None
