"""Exports as a command: what they tell, and how they end."""

import json

import pytest

from retrain.export.export import main
from retrain.export.formats.formats import FORMATS
from retrain.export.formats.litert_environment import SETTING, environment_folder
from supernet.command.process import run_command
from tests.helpers.documented import undocumented


def report_of(run):
    assert undocumented(run / "export.json") == set()
    return json.loads((run / "export.json").read_text())


def status_of(*arguments):
    with pytest.raises(SystemExit) as leaving:
        run_command(lambda: main([str(argument) for argument in arguments]))
    return leaving.value.code


def skip_without(name):
    """Skip a test where a format's packages are missing."""
    pytest.importorskip(FORMATS[name].package, reason=f"pip install mnasnet-search[{name}]")
    if name == "litert" and not (environment_folder() / "bin" / "python").exists():
        pytest.skip(f"{SETTING} names no environment; `retrain.export --formats litert` makes one")
