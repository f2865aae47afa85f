"""A search space from its yaml file, such as configs/spaces/paper.yaml. No torch."""

from __future__ import annotations

from pathlib import Path

import yaml

from supernet.errors import UserError
from supernet.fields import read_as
from supernet.space import MnasSpace


def read_space(path: str | Path) -> MnasSpace:
    """The space of a file that holds fields of ``MnasSpace``; those it leaves out are the paper's.

    Raises:
        UserError: one line that names the file, the field, its value and what is allowed.
    """
    try:
        fields = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"cannot read a space from {path} ({reason}): name a yaml file such as"
            " configs/spaces/paper.yaml"
        ) from None
    try:
        return read_as(MnasSpace, fields, "space.", partial=True)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
