"""The mutation check: its list fits today's code, and its verdicts are those of the tests."""

import dataclasses
import re
import subprocess
from collections import Counter

import pytest

from benchmarks.mutation_check.__main__ import main
from benchmarks.mutation_check.mutations import ROOT, Mutation, StaleMutationError, read_mutations
from benchmarks.mutation_check.trial import check_unmutated, copy_checkout, try_mutation

MUTATIONS = read_mutations()
SOUND = Mutation(
    "data", "half.py", "return x / 2", "return x * 2", ["test_half.py"], "halves are doubles"
)


def test_there_are_twelve_mutations_of_other_lines_in_each_of_five_areas():
    areas = ("data", "search", "ranking", "export", "latency")
    assert Counter(one.area for one in MUTATIONS) == dict.fromkeys(areas, 12)
    assert len({(one.file, one.old) for one in MUTATIONS}) == 60


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: f"{one.file}-{one.harm}")
def test_every_mutation_can_be_made_and_its_tests_are_there(mutation):
    assert mutation.mutated() != (ROOT / mutation.file).read_text()
    for test in mutation.tests:
        path, _, name = test.partition("::")
        if name:
            assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE), test


@pytest.fixture
def checkout(tmp_path):
    """A checkout of one function and its test, without bytecode of an earlier source."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "half.py").write_text("def half(x):\n    return x / 2\n")
    (root / "test_half.py").write_text(
        "from half import half\n\n\ndef test_half():\n    assert half(6) == 3\n"
    )
    (root / "ignored.txt").write_text("")
    (root / ".gitignore").write_text("ignored.txt\n")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    copy = copy_checkout(root, tmp_path / "copy")
    assert {path.name for path in copy.iterdir()} == {".gitignore", "half.py", "test_half.py"}
    return copy


def test_a_mutation_is_killed_by_the_test_that_fails_and_taken_back(checkout):
    before = (checkout / "half.py").read_text()
    verdict = try_mutation(checkout, SOUND)
    assert (verdict.killed, verdict.by) == (True, "test_half.py::test_half")
    assert (checkout / "half.py").read_text() == before
    check_unmutated(checkout, [SOUND])


def test_a_mutation_that_no_test_notices_survives(checkout):
    verdict = try_mutation(checkout, dataclasses.replace(SOUND, new="return x / 2 + 0"))
    assert (verdict.killed, verdict.by) == (False, "")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"old": "return x / 3"}, r"half\.py holds 'return x / 3' 0 times, not once"),
        ({"old": "x"}, "holds 'x' 2 times, not once"),
        ({"file": "gone.py"}, r"gone\.py holds .* 0 times"),
        ({"new": "return x /"}, "is no Python"),
        ({"new": "return (x / 2)"}, "changes nothing"),
        ({"tests": ["test_gone.py"]}, r"test_gone\.py, which should notice .* is gone"),
    ],
)
def test_a_mutation_that_the_code_has_left_behind_is_named(checkout, change, reason):
    mutation = dataclasses.replace(SOUND, **change)
    with pytest.raises(StaleMutationError, match=reason):
        mutation.mutated(checkout)


def test_tests_that_fail_by_themselves_or_are_gone_are_no_answer(checkout):
    with pytest.raises(StaleMutationError, match="leaves no tests to run"):
        try_mutation(checkout, dataclasses.replace(SOUND, tests=["test_half.py::test_gone"]))
    (checkout / "half.py").write_text("def half(x):\n    return x / 2 + 1\n")
    with pytest.raises(StaleMutationError, match="tests fail without any mutation"):
        check_unmutated(checkout, [SOUND])


def test_an_area_that_there_is_not_ends_in_one_line(capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["latencies"])
    assert leaving.value.code == 2
    assert capsys.readouterr().err == (
        "error: no area latencies, only data, search, ranking, export, latency\n"
    )
