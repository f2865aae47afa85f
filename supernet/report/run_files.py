"""Files of a run as a report reads them: none of them has to be there, and none is trusted."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supernet.arch_file import ArchFile, read_arch
from supernet.errors import UserError
from supernet.files.csv_table import Columns, read_columns
from supernet.files.json_text import parse_json
from supernet.files.reading import read_text, read_yaml, typed_object
from supernet.report.page import Picture

WAY_OUT = "restore it, or run the command that writes it again"


class RunFiles:
    """The folder of a run, or a copy of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return (self.folder / name).is_file()

    def values(self, name: str) -> dict[str, Any]:
        """Content of a JSON file; empty where there is none.

        Raises:
            UserError: when it cannot be read or holds no object.
        """
        path = self.folder / name
        if not path.exists():
            return {}
        try:
            return typed_object("the content", parse_json(read_text(path, WAY_OUT).encode()))
        except UserError as error:
            raise UserError(f"{name} cannot be read ({error})") from None

    def config(self) -> Mapping[str, Any]:
        """Settings of the run; empty where there are none."""
        config = read_yaml(self.folder / "config.yaml", WAY_OUT) if self.has("config.yaml") else {}
        return typed_object("config.yaml", config)

    def text(self, name: str) -> str:
        """Content of a file of text; empty where there is none."""
        return read_text(self.folder / name, WAY_OUT) if self.has(name) else ""

    def archs(self) -> dict[str, ArchFile]:
        """The found networks by the names of their files."""
        return {path.name: read_arch(path) for path in sorted(self.folder.glob("arch*.json"))}

    def metrics(self, *names: str) -> Columns:
        """Those columns of metrics.csv that are there; empty where there is none."""
        header = next(csv.reader(self.text("metrics.csv").splitlines()[:1]), [])
        present = [name for name in ("step", *names) if name in header]
        return read_columns(self.folder / "metrics.csv", present, WAY_OUT) if present else {}

    def figure(self, name: str, words: str, folder: str = "figures") -> list[Picture]:
        """A figure of a folder of the run's, in a list that is empty where it is not."""
        path = self.folder / folder / name
        return [Picture(path.read_bytes(), words)] if path.is_file() else []

    def other_figures(self, shown: set[str]) -> list[Picture]:
        """Figures that have not been shown."""
        paths = sorted((self.folder / "figures").glob("*.png"))
        return [Picture(path.read_bytes(), path.stem) for path in paths if path.name not in shown]
