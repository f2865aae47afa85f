"""Long jobs: their cache, and the commits that made it."""

import subprocess
from functools import partial

import pytest

from search.evaluation import jobs
from search.evaluation.jobs import CachedJobs
from supernet.errors import UserError

# The cache


def squares(path, done=(), **options):
    def square(number):
        done.append(number)
        return {"of": [number], "is": number**2}

    return CachedJobs(
        "squares", path, ("of",), lambda number: {"of": [number]}, partial(map, square), **options
    )


def test_each_job_is_done_once_and_answered_as_often_as_asked(tmp_path, capsys):
    path, done = tmp_path / "deep" / "cache.jsonl", []
    assert [row["is"] for row in squares(path, done).rows([3, 1, 3])] == [9, 1, 9]
    assert "squares 2/2" in capsys.readouterr().out
    assert [row["is"] for row in squares(path, done, shown=False).rows([2, 3])] == [4, 9]
    assert done == [3, 1, 2]
    assert capsys.readouterr().out == ""


def test_a_line_that_was_cut_short_costs_that_line_only(tmp_path):
    path = tmp_path / "cache.jsonl"
    squares(path, []).rows([1])
    path.write_bytes(path.read_bytes() + b'{"of": [2], "i')
    squares(path, []).rows([3])
    assert squares(path).known == {((n,),): {"of": [n], "is": n**2} for n in (1, 3)}


@pytest.mark.parametrize("content", ['{"other": 1}\n', "[1]\n", "3\n"])
def test_a_cache_of_something_else_is_refused_or_passed_over(tmp_path, content):
    path = tmp_path / "cache.jsonl"
    path.write_text(content + '{"of": [5]}\n')
    with pytest.raises(UserError, match=r"cache\.jsonl, line 1 has no of: name the cache"):
        squares(path)
    assert squares(path, strict=False).known == {((5,),): {"of": [5]}}


def test_the_commit_is_that_of_the_beginning(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(jobs, "commit", lambda: asked.append("now"))
    squares(tmp_path / "cache.jsonl")
    assert asked == ["now"]


def test_rows_of_other_commits_are_told(monkeypatch):
    monkeypatch.setattr(jobs, "commit", lambda: "abc1234")
    assert jobs.other_commits([{"commit": "abc1234"}, {"commit": "abc1234"}]) == ""
    line = jobs.other_commits(
        [{"commit": "abc1234"}, {"commit": "1-dirty"}, {}, {"commit": "1-dirty"}]
    )
    assert line == "of 4 rows of other commits than abc1234: 2 by 1-dirty, 1 by unknown"


def test_a_commit_is_marked_where_code_differs_and_not_for_a_row_more(tmp_path, monkeypatch):
    def git(*words):
        named = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *named, *words], cwd=tmp_path, check=True, capture_output=True)

    def named():
        jobs.commit.cache_clear()
        return jobs.commit()

    monkeypatch.setattr(jobs, "__file__", str(tmp_path / "code.py"))
    assert named() == ""
    (tmp_path / jobs.ROWS).mkdir(parents=True)
    for path in (tmp_path / "code.py", tmp_path / jobs.ROWS / "rows.jsonl"):
        path.write_text("one\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "Begin")
    clean = named()
    assert len(clean) >= 7
    (tmp_path / jobs.ROWS / "rows.jsonl").write_text("one\ntwo\n")
    assert named() == clean
    (tmp_path / "code.py").write_text("two\n")
    assert named() == f"{clean}-dirty"
    jobs.commit.cache_clear()
