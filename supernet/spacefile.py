"""A search space from its yaml file, such as configs/spaces/paper.yaml. No torch."""

from __future__ import annotations

from pathlib import Path

from supernet.errors import UserError
from supernet.fields import read_as
from supernet.space import MnasSpace
from supernet.yamlfile import read_yaml


def read_space(path: str | Path) -> MnasSpace:
    """The space of a file that holds fields of ``MnasSpace``; those it leaves out are the paper's.

    Raises:
        UserError: one line that names the file, the field, its value and what is allowed.
    """
    fields = read_yaml(path, "name a yaml file of a space such as configs/spaces/paper.yaml")
    try:
        return read_as(MnasSpace, fields, "space.", partial=True)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
