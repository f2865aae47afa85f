"""The README's commands run, shortened; its options parse."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from search.__main__ import main
from supernet.latency.__main__ import backend_of, latency_parser
from supernet.space.mnasnet import read_space
from tests.helpers.html_page import Page

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
BLOCKS = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("mnasnet")]
OPTIONS = [
    option
    for row in re.findall(r"^\| .*? \| (`.*) \|$", README, flags=re.MULTILINE)
    for option in re.findall(r"`((?:-c|--)[^`]+)`", row)
]
CONSOLE = ["-m", "supernet.command.console"]
SHORT = {
    "search": "--trainer.max_steps 40 --model.cost macs --model.surrogate.networks 4"
    " --model.surrogate.first 2 --model.surrogate.rounds 2 --model.surrogate.updates 2"
    " --model.space.base_layers [1,1,1,1,1,1,1] --model.space.layers [0,1]"
    " --model.final.samples 8 --model.final.candidates 2"
    " --model.final.measured 0",
    "retrain": "--trainer.max_epochs 1",
}


def shortened(command, folder):
    """The command with runs/ in a folder of the test and as few steps as will do."""
    words = shlex.split(command.replace("runs/", f"{folder}/"))
    for start, extra in SHORT.items():
        if command.startswith(f"mnasnet {start} "):
            words += shlex.split(extra)
    return [sys.executable, "-W", "ignore", *CONSOLE, *words[1:]]


@pytest.mark.slow
def test_every_command_runs_in_the_order_in_which_it_stands(tmp_path):
    assert len(COMMANDS) == 7
    printed = ""
    for command in COMMANDS:
        done = subprocess.run(
            shortened(command, tmp_path), cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done.stderr)
        printed += done.stdout
    assert "test accuracy" in printed
    Image.new("L", (24, 32)).save(tmp_path / "photo.jpg")
    for block in PYTHON:
        code = block.replace("runs/", f"{tmp_path}/").replace("photo.jpg", f"{tmp_path}/photo.jpg")
        subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True)
    assert (tmp_path / "digits" / "network.onnx").exists()
    page = Page((tmp_path / "digits" / "report.html").read_text())
    told = {"result", "training", "classes", "worst-images", "exported-files"}
    assert told <= page.words.keys()
    assert "network.onnx" in page.words["exported-files"]


SAMPLES = ROOT / "tests/samples/fa87f1f"
LIGHT_COMMANDS = ("show", "networks", "size", "check-data", "report")
DOCS = sorted((ROOT / "docs").glob("*.md"))
LIGHT = sorted(
    {
        line
        for path in DOCS
        for line in path.read_text().splitlines()
        if line.startswith(tuple(f"mnasnet {name} " for name in LIGHT_COMMANDS))
    }
)
TABLES = re.findall(
    r"^mnasnet latency (.+)$", (ROOT / "docs" / "latency.md").read_text(), re.MULTILINE
)


@pytest.mark.parametrize("line", LIGHT)
def test_the_light_commands_of_the_docs_run(line, tmp_path):
    for number in range(20):
        image = tmp_path / "images" / ("light" if number % 2 else "dark") / f"{number}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 12 * number).save(image)
    run = shutil.copytree(SAMPLES / "retrain", tmp_path / "run")
    line = line.replace("DIR", str(image.parents[1])).replace("runs/NAME", str(run))
    line = line.replace("runs/digits-search", str(SAMPLES / "table"))
    words = [sys.executable, *CONSOLE, *shlex.split(line)[1:]]
    if "check-data" in words:
        words += ["--page", tmp_path / "page.png"]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("line", TABLES)
def test_the_commands_of_latency_tables_parse(line):
    options = latency_parser().parse_args(shlex.split(line))
    if options.command == "build":
        backend_of(options)
        read_space(ROOT / options.space)
    assert len(TABLES) == 12


def test_make_knows_the_two_commands():
    for target in re.findall(r"^make (\S+)", BLOCKS[0], flags=re.MULTILINE):
        line = ["make", "--dry-run", target]
        subprocess.run(line, cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_parses(option, monkeypatch, capsys):
    words = shlex.split(option.replace("my.module.MyData", "Digits"))
    line = ["search", "fit", "-c", "configs/digits/search.yaml", *words, "--print_config"]
    if words[0] == "-c":
        line = ["search", "fit", "--run", "r", *words, "--print_config"]
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", line)
    with pytest.raises(SystemExit) as leaving:
        main()
    assert leaving.value.code == 0, capsys.readouterr().err
