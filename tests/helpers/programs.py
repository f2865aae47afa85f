"""Programs that stand for those of others: shell scripts on PATH that note how they were called."""

import os
import stat

import pytest

from supernet.command.process import run_command


class Programs:
    """A folder on PATH; a program of it notes its arguments, one call after another."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        folder.mkdir()
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def add(self, name, script):
        """A program that does what a shell script says."""
        path = self.folder / name
        note = f'printf "%s\\037" "$@" >> "{path}.calls"; printf "\\036" >> "{path}.calls"\n'
        path.write_text(f"#!/bin/sh\n{note}{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
        return path

    def calls(self, name):
        """Arguments of each call so far."""
        notes = self.folder / f"{name}.calls"
        text = notes.read_text() if notes.exists() else ""
        return [call.split("\037")[:-1] for call in text.split("\036")[:-1]]


def refusal(main, words, capsys, output=False):
    """The line about bad input that a command ends with, after what others told on stderr.

    ``output``: whether it may have printed something before.
    """
    capsys.readouterr()
    with pytest.raises(SystemExit) as leaving:
        run_command(lambda: main(words))
    told = capsys.readouterr()
    assert leaving.value.code == 2
    assert output or not told.out
    *before, line = told.err.splitlines()
    assert not [one for one in before if one.startswith(("error: ", "Traceback"))]
    assert line.startswith("error: ")
    return line.removeprefix("error: ")
