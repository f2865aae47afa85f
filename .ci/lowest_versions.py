"""The lowest version of each package that pyproject.toml allows, as pins for an audit."""

import re
import sys
import tomllib
from pathlib import Path


def lowest_versions(pyproject: str) -> list[str]:
    """Pins such as ``torch==2.10``, of a pyproject.toml's text; a requirement needs a ``>=``."""
    fields = tomllib.loads(pyproject)
    project = fields["project"]
    extras = project["optional-dependencies"].values()
    needed = [*fields["build-system"]["requires"], *project["dependencies"]]
    pins = {_pin(one) for one in (*needed, *(one for extra in extras for one in extra))}
    return sorted(pins)


def _pin(requirement: str) -> str:
    found = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)(?:,<[\w.]+)?", requirement)
    if not found:
        raise ValueError(f"{requirement} has no lowest version: give it one by >=")
    return f"{found[1]}=={found[2]}"


if __name__ == "__main__":
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    sys.stdout.write("\n".join(lowest_versions(text)) + "\n")
