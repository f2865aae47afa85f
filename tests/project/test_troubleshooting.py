"""Troubleshooting: its page knows every alarm, and quotes what the program says."""

import ast
import re
from pathlib import Path

import pytest

from supernet.arch_records import NOT_LEARNED

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
FILES = [path for name in ("search", "retrain", "supernet") for path in (ROOT / name).rglob("*.py")]


def cause_of(call):
    """The cause of an alarm as the page writes it: what is put in is in capital letters."""
    match call.args[0]:
        case ast.Constant(value=text):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(
                part.value if isinstance(part, ast.Constant) else ast.unparse(part.value).upper()
                for part in parts
            )
        case ast.Name(id="NOT_LEARNED"):
            return NOT_LEARNED
    raise AssertionError(ast.unparse(call))


def alarms():
    calls = [node for path in FILES for node in ast.walk(ast.parse(path.read_text()))]
    return {
        cause_of(node)
        for node in calls
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Alarm"
    }


def test_every_alarm_has_its_row_and_no_other():
    assert NOT_LEARNED in alarms()
    assert set(re.findall(r"^\| \*\*(.+?)\*\* \|", PAGE, flags=re.MULTILINE)) == alarms()


TEXTS = "\n".join(
    re.sub(r"\{[^{}]*\}", "#", re.sub(r"\"\n\s*f?\"", "", path.read_text())) for path in FILES
)
CELLS = re.findall(r"^\| (`.+?) \| ", PAGE, flags=re.MULTILINE)
QUOTED = [one for cell in CELLS for one in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("quoted", QUOTED)
def test_the_program_says_what_is_quoted(quoted):
    """All words between what is put in, in one message."""
    parts = [
        part for part in re.split(r"\.\.\.|\(\.jpg, |\d+|\bNAME\b|, 60.*", quoted) if part.strip()
    ]
    longest = max(parts, key=len).strip(" [],`")
    assert longest in TEXTS, longest
