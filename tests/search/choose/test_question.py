"""What is asked, and of which runs: no search is needed for it."""

import dataclasses
import json

import pytest

from search.choose.command import choose, front_targets
from search.choose.finished import FinishedSearch
from search.choose.question import Question
from search.settings import Lengths
from supernet.errors import UserError
from tests.helpers.documented import undocumented

PLAIN = Question(["12"], None, None, None, candidates=6, labels=8)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "12"),
        ({"targets": ["10", "12", "14"]}, "10-to-14"),
        ({"targets": ["0.8x mnasnet_a1"], "cost": "macs"}, "0.8x-mnasnet-a1-macs"),
        ({"table": "tables/phone.json"}, "12-phone"),
        ({"constraints": "[]"}, "12-within-0d4a1185"),
    ],
)
def test_the_name_of_a_folder_tells_the_question(changes, name):
    assert dataclasses.replace(PLAIN, **changes).name.startswith(name[:10])
    assert dataclasses.replace(PLAIN, **changes).name == name or changes.get("constraints")


def test_questions_are_asked_as_options_of_a_search():
    asked = list(dataclasses.replace(PLAIN, table="phone.json", constraints="[]").options())
    assert asked[:4] == [
        '--model.target=["12"]',
        "--model.cost=ms",
        "--model.table=phone.json",
        "--model.constraints=[]",
    ]
    assert "--model.table=null" in dataclasses.replace(PLAIN, cost="macs").options()
    assert not any("table" in one for one in dataclasses.replace(PLAIN, cost="ms").options())


def test_a_folder_answers_one_question(tmp_path):
    PLAIN.keep(tmp_path)
    PLAIN.keep(tmp_path)
    assert undocumented(tmp_path / "question.json") == set()
    with pytest.raises(UserError, match="answers another question"):
        dataclasses.replace(PLAIN, targets=["13"]).keep(tmp_path)
    (tmp_path / "question.json").write_text("{")
    with pytest.raises(UserError, match="answers another question"):
        PLAIN.keep(tmp_path)


def test_a_front_takes_the_middles_of_equal_parts_of_the_space():
    assert front_targets(4) == ["p12.5", "p37.5", "p62.5", "p87.5"]
    assert len(set(front_targets(100))) == 100
    for num in (1, 101):
        with pytest.raises(UserError, match=f"--front is {num}, it must be from 2 to 100"):
            front_targets(num)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--target", "12"], "required: --run"),
        (["--run", "runs/x"], "one of the arguments --target --front is required"),
        (["--run", "x", "--target", "12", "--front", "3"], "not allowed with"),
        (["--run", "x", "--target", "12", "--model.weights.lr", "1"], "--model.weights.lr 1"),
        (["--run", "x", "--target", "12", "--candidates", "0"], "'0' is not a whole number of at"),
        (["--run", "no/such", "--target", "12"], "no/such/config.yaml"),
    ],
)
def test_wrong_lines_are_refused(line, words):
    with pytest.raises(UserError, match=words):
        choose(line)


@pytest.fixture
def folder(tmp_path):
    """What a finished search has left."""
    (tmp_path / "config.yaml").write_text("model: {sampling: {score: tuned}}")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"")
    label = {"arch": [0, 1], "round": 1, "origin": "proposed"}
    content = {"label_steps": 3, "final_steps": 12, "labels": [label], "finalists": [label] * 2}
    (tmp_path / "surrogate.json").write_text(json.dumps(content))
    return tmp_path


def test_a_finished_search_is_read(folder):
    found = FinishedSearch.read(folder)
    assert found.lengths == Lengths(3, 12)
    (label,) = found.labels
    assert (label.code, label.round, label.origin) == ((0, 1), 1, "proposed")
    assert found.finalists == ((0, 1),)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("config.yaml", "model: {sampling: {score: accuracy}}", "searched by slices' scores"),
        ("config.yaml", "model: {arch: a.json}", "config.yaml is not of a search"),
        ("config.yaml", None, "config.yaml"),
        ("surrogate.json", None, "holds no finished search, as .*surrogate.json is missing"),
        ("checkpoints/last.ckpt", None, "holds no finished search, as .*last.ckpt is missing"),
        ("surrogate.json", "[", "surrogate.json is broken"),
        ("surrogate.json", '{"label_steps": 3, "labels": [1]}', "surrogate.json is broken"),
    ],
)
def test_what_is_no_finished_search_by_tunings_is_refused(folder, file, text, words):
    (folder / file).unlink()
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(UserError, match=words) as error:
        FinishedSearch.read(folder)
    assert "\n" not in str(error.value)
