"""Exports as a command: what they tell, and how they end."""

import json

import pytest

from retrain.export.export import main
from supernet.command.process import run_command


def report_of(run):
    return json.loads((run / "export.json").read_text())


def status_of(*arguments):
    with pytest.raises(SystemExit) as leaving:
        run_command(lambda: main([str(argument) for argument in arguments]))
    return leaving.value.code
