"""RunParser: reads a run's command line and configs, and says in one line what it cannot."""

import os
import re
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import Namespace
from jsonargparse.typing import restricted_number_type
from pytorch_lightning.cli import LightningArgumentParser

from supernet.command.parser_errors import readable
from supernet.errors import UserError, one_line
from supernet.files.reading import parse_yaml
from supernet.training.config import check_class_path, with_shipped_space

Seed = restricted_number_type(
    "Seed", int, [(">=", 0), ("<", 2**32)], docstring="int from 0 to 2**32 - 1"
)
Threads = restricted_number_type(
    "Threads", int, [(">=", 0), ("<=", 1024)], docstring="int from 0 to 1024"
)


class RunParser(LightningArgumentParser):
    """Prints a usage error as one line instead of the whole usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Refuse the words, which ends a command with status 2.

        Raises:
            UserError: with the line.
        """
        line = one_line(message)
        if missing := re.match(r"Parser key \"(.+?)\": Unable to load config '(.+?)'", line):
            name, path = missing.groups()
            line = f"{name} is {path!r}, which is no file of settings: name a yaml file"
        else:
            line = readable(message)
        raise UserError(line) from None

    def parse_path(self, cfg_path: str | os.PathLike, *args: Any, **kwargs: Any) -> Namespace:
        """Say which config is no YAML: with several, jsonargparse leaves that open."""
        try:
            text = Path(cfg_path).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            self.error(f"{cfg_path} is not YAML: {error}")
        try:
            content = parse_yaml(text)
        except UserError as error:
            self.error(f"{cfg_path} is not YAML: {error}")
        try:
            check_class_path(content, str(cfg_path))
        except UserError as error:
            self.error(str(error))
        return super().parse_path(cfg_path, *args, **kwargs)

    def parse_string(self, cfg_str: str, *args: Any, **kwargs: Any) -> Namespace:
        """Read the text of a config from its own folder; a shipped space may stand by its name."""
        try:
            named = with_shipped_space(cfg_str)
        except UserError as error:
            self.error(str(error))
        return super().parse_string(named, *args, **kwargs)
