"""No yaml file runs code that the command line does not name, as seen by what it would write."""

import sys

import pytest
import yaml

from retrain.__main__ import main as retrain
from retrain.export.images import _run_data
from search.compare.benchmark import read_search
from supernet.command.process import run_command
from supernet.command.trust import check_command_line, check_imports
from supernet.errors import UserError
from supernet.training.config import read_training

EVIL = """
from pathlib import Path
Path({marker!r}).touch()
from supernet.data import Digits
class D(Digits):
    pass
def call(*args):
    pass
"""


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """What evil.py, in this folder and in one without __init__.py, would write when imported."""
    marker = tmp_path / "MARKER"
    (tmp_path / "runs" / "x").mkdir(parents=True)
    for place in (tmp_path, tmp_path / "runs" / "x"):
        (place / "evil.py").write_text(EVIL.format(marker=str(marker)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["retrain"])
    monkeypatch.syspath_prepend(tmp_path)
    yield marker
    for name in [name for name in sys.modules if name.split(".")[0] in ("evil", "runs")]:
        del sys.modules[name]


def hook(name):
    return {
        "class_path": "pytorch_lightning.callbacks.LambdaCallback",
        "init_args": {name: "evil.f"},
    }


CONFIGS = {
    "a class": {"data": {"class_path": "evil.D"}},
    "in a folder": {"data": {"class_path": "runs.x.evil.D"}},
    "a name alone": {"data": "evil.D"},
    "a callback": {"trainer": {"callbacks": [{"class_path": "evil.D"}]}},
    "a logger": {"trainer": {"logger": "evil.D"}},
    "a function": {"trainer": {"callbacks": [hook("on_fit_start")]}},
    "text": {"trainer": {"callbacks": "[{class_path: evil.D}]"}},
    "an argument": {"data": {"class_path": "Digits", "init_args": {"resolution": "evil.D"}}},
    "a section": {"model": {"recipe": {"class_path": "evil.D"}}},
    "another file": {"data": "other.yaml"},
    "the standard library": {"data": {"class_path": "subprocess.Popen"}},
    "through us": {"data": {"class_path": "supernet.run.cli.os.system"}},
    "a function of ours": {
        "data": {"class_path": "supernet.latency.devices.benchmark_program.run"}
    },
}


@pytest.fixture
def config(tmp_path, marker):
    """Write a config, and one beside it that it may name."""

    def written(content, name="config.yaml"):
        (tmp_path / "other.yaml").write_text("{class_path: evil.D}")
        (tmp_path / name).write_text(yaml.safe_dump(content))
        return tmp_path / name

    return written


def refusal(main, capsys):
    with pytest.raises(SystemExit) as leaving:
        run_command(main)
    assert leaving.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_config_that_names_foreign_code_is_refused_before_it_runs(config, marker, capsys, kind):
    path = config(CONFIGS[kind])
    words = ["fit", "-c", str(path), "--run", "run", "--model.arch", "mnasnet_small"]
    line = refusal(lambda: retrain(words), capsys)
    assert line.startswith(f"error: {path.parent}/")
    assert "and naming a class runs its module: if you trust it, add --trust " in line
    assert not marker.exists()


@pytest.mark.parametrize("spelling", ["-c{}", "-c={}", "--config={}", "--data={}", "--trainer={}"])
def test_every_way_to_name_a_file_is_seen(config, marker, spelling):
    path = config(CONFIGS["a class"])
    with pytest.raises(UserError, match=r"names 'evil\.D', .* --trust evil$"):
        check_command_line(["fit", spelling.format(path)])
    check_command_line(["fit", spelling.format(path), "--trust", "evil"])
    check_command_line(["fit", "--trust=evil", spelling.format(path)])
    check_command_line(["fit", spelling.format(path), "--data", "evil.D"])
    check_command_line(["fit", spelling.format(path), "--data.class_path=evil.D"])
    assert not marker.exists()


def test_only_the_module_that_was_named_is_trusted(config, marker):
    path = config(CONFIGS["in a folder"])
    for trusted in ("evil", "runs.x.evi", "x.evil", "runs.y", "D"):
        with pytest.raises(UserError, match=r"--trust runs\.x\.evil$"):
            check_command_line(["-c", str(path), "--trust", trusted])
    for trusted in ("runs.x.evil", "runs.x", "runs", "runs.x.evil.D"):
        check_command_line(["-c", str(path), "--trust", trusted])
    assert not marker.exists()


def test_a_folder_of_a_strangers_name_trusts_nothing(config, marker, tmp_path):
    path = config(CONFIGS["a class"])
    (tmp_path / "evil.D").mkdir()
    with pytest.raises(UserError, match=r"names 'evil\.D'"):
        check_command_line(["-c", str(path), "--run", "evil.D"])


def test_no_file_trusts_itself(config, marker, capsys):
    path = config({"trust": ["evil"], **CONFIGS["a class"]})
    words = ["fit", "-c", str(path), "--run", "run", "--model.arch", "mnasnet_small"]
    line = refusal(lambda: retrain(words), capsys)
    assert line == f"error: {path} has trust: no file trusts itself, give --trust MODULE instead"
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        {"data": {"class_path": "supernet.data.Digits", "init_args": {"root": "a.b", "x": 1.5}}},
        {"trainer": {"callbacks": ["pytorch_lightning.callbacks.EarlyStopping"]}},
        {"model": {"arch": "no.json", "target": "0.8x mnasnet_a1"}},
        {"data": {"class_path": "supernet.data.Nothing"}},
        {"data": "config.yaml"},
        [None, 3, "", "\0", "x" * 5000, "[", "a: ["],
    ],
)
def test_what_runs_no_foreign_code_passes(content, config):
    path = config(content)
    check_imports(content, path, trusted=())
    check_command_line(["fit", "-c", str(path)])


def test_a_search_and_a_training_to_be_compared_name_no_foreign_code(config, marker):
    trainer = {"max_steps": 3}
    path = config({**CONFIGS["a class"], "trainer": trainer})
    with pytest.raises(UserError, match=r"names 'evil\.D'"):
        read_training(path)
    assert not marker.exists()
    path = config({"model": {"reward": {"class_path": "evil.D"}}})
    with pytest.raises(UserError, match=r"names 'evil\.D'"):
        read_search(path)
    assert not marker.exists()


def test_what_the_user_trusts_is_run_and_not_kept_in_the_run(config, marker, tmp_path, capsys):
    path = config(CONFIGS["a class"])
    words = ["fit", "-c", str(path), "--run", "run", "--trust", "evil", "--trust", "other"]
    line = refusal(lambda: retrain([*words, "--model.arch", "none.json"]), capsys)
    assert line.startswith("error: none.json: cannot be read")
    assert marker.exists()
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert kept["data"]["class_path"] == "evil.D"
    assert "trust" not in kept


@pytest.mark.parametrize("trusted", [(), ("evil",)])
def test_the_data_of_an_exported_run_are_made_only_of_trusted_code(config, marker, trusted):
    path = config({"data": {"class_path": "evil.D", "init_args": {}}})
    if not trusted:
        with pytest.raises(UserError, match=r"config\.yaml names 'evil\.D', .* --trust evil$"):
            _run_data(path, {}, trusted)
    else:
        assert _run_data(path, {}, trusted).num_classes == 10
    assert marker.exists() == bool(trusted)
