"""Jobs that are whole runs: they go on, fail in one line, and end with the process."""

import time

import pytest

from search.evaluation.jobs import CachedJobs
from search.evaluation.run_jobs import RunCommands, Runs
from supernet.errors import UserError

SLEEP = "import time; time.sleep(60)"


def jobs_of(folder, commands, processes=2):
    def result(job, place):
        return {"job": job, "told": place.with_suffix(".log").read_text()}

    runs = Runs(lambda job: RunCommands(folder / "runs" / job, commands(job)), result, processes)
    return CachedJobs("runs", folder / "rows.jsonl", ("job",), lambda job: {"job": job}, runs)


def test_each_run_is_done_once_its_commands_in_turn(tmp_path):
    jobs = jobs_of(tmp_path, lambda job: [["calendar", "2026"], ["calendar", "2027"]])
    first, second = jobs.rows(["a", "b"])
    assert first["job"] == "a"
    assert first["told"].index("2026") < first["told"].index("2027")
    again = jobs_of(tmp_path, lambda job: [["no_such_module"]])
    assert again.rows(["b", "a"]) == [second, first]


def test_a_run_that_fails_is_named_with_its_last_line(tmp_path):
    jobs = jobs_of(tmp_path, lambda job: [["no_such_module"], ["this"]])
    with pytest.raises(UserError, match=r"a ended with status 1: .*No module named no_such_module"):
        jobs.rows(["a"])
    assert not (tmp_path / "rows.jsonl").exists()


def test_runs_under_way_end_where_another_fails(tmp_path):
    words = {"a": ["timeit", "-n1", "-r1", SLEEP], "b": ["no_such_module"]}
    began = time.monotonic()
    with pytest.raises(UserError, match="b ended with status 1"):
        jobs_of(tmp_path, lambda job: [words[job]]).rows(["a", "b"])
    assert time.monotonic() - began < 30
