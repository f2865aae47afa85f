"""Question: what is asked of a finished search, as options of a search and in a file."""

import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from supernet.errors import UserError
from supernet.files.json_text import parse_json
from supernet.files.writing import write_json

QUESTION = "question.json"
"""File of a choice's folder that says what was asked."""
LONGEST_NAME = 60


@dataclass(frozen=True)
class Question:
    """What is asked of a finished search; what is None stays as the search had it."""

    targets: list[str]
    cost: str | None
    table: str | None
    constraints: str | None
    candidates: int
    """Networks that are tuned for each target, to be chosen from."""
    labels: int
    """Uniform networks that hit each target, to learn from."""

    @property
    def name(self) -> str:
        """Letters that suit a folder's name: what is asked for, and on what."""
        first, *others = self.targets
        parts = [f"{first}-to-{others[-1]}" if others else first]
        parts += [Path(self.table).stem] if self.table else [self.cost] if self.cost else []
        if self.constraints:
            parts.append(f"within-{zlib.crc32(self.constraints.encode()):08x}")
        return re.sub(r"[^0-9A-Za-z.+]+", "-", "-".join(parts)).strip("-.")[-LONGEST_NAME:]

    def options(self) -> Iterator[str]:
        """Options of ``fit`` that ask it."""
        yield f"--model.target={json.dumps(self.targets)}"
        if self.table or self.cost:
            yield f"--model.cost={self.cost or 'ms'}"
        if self.table or self.cost not in (None, "ms"):
            yield f"--model.table={self.table or 'null'}"
        if self.constraints:
            yield f"--model.constraints={self.constraints}"
        yield f"--model.final.candidates={self.candidates}"
        # The one that takes any number of targets: none is asked anything.
        yield "--model.controller.kind=random"
        yield f"--model.sampling.samples={len(self.targets)}"

    def keep(self, folder: Path) -> None:
        """Write question.json, or find it there.

        Raises:
            UserError: when the folder answers another question.
        """
        path, plain = folder / QUESTION, asdict(self)
        if not path.exists():
            write_json(path, plain)
        elif _content(path) != plain:
            raise UserError(f"{folder} answers another question, see {path}: name another --out")


def _content(path: Path) -> Any:
    try:
        return parse_json(path.read_bytes())
    except (OSError, UserError):
        return None
