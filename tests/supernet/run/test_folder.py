"""Run folders: where a run may start, what is kept when something breaks."""

import pytest

from supernet.errors import UserError
from supernet.files.csv_table import CsvRows
from supernet.run.distributed import step_seed
from supernet.run.folder import last_checkpoint, starting_point, way_on
from supernet.tracking.metrics import MetricsCsv


def make_run(folder, checkpoint):
    (folder / "checkpoints").mkdir()
    (folder / "config.yaml").write_text("")
    if checkpoint:
        last_checkpoint(folder).write_text("")


def test_a_new_folder_starts_at_step_0(tmp_path):
    assert starting_point(tmp_path / "new", None) is None


def test_starting_over_a_run_is_refused(tmp_path):
    make_run(tmp_path, checkpoint=True)
    with pytest.raises(UserError, match=r"already holds a run.*--ckpt_path last"):
        starting_point(tmp_path, None)


def test_last_is_the_runs_own_checkpoint(tmp_path):
    make_run(tmp_path, checkpoint=True)
    assert starting_point(tmp_path, "last") == str(last_checkpoint(tmp_path))


def test_a_run_stopped_before_its_first_checkpoint_starts_again(tmp_path):
    make_run(tmp_path, checkpoint=False)
    assert starting_point(tmp_path, "last") is None


def test_only_what_trains_is_continued_from_a_checkpoint():
    assert way_on(["test", "--run", "fit"]) == "the same command"
    for arguments in (["fit", "--run", "test"], []):
        assert way_on(arguments) == "the same command and --ckpt_path last"


def test_one_command_line_starts_and_continues_a_job(tmp_path):
    assert starting_point(tmp_path / "new", "auto") is None
    make_run(tmp_path, checkpoint=False)
    assert starting_point(tmp_path, "auto") is None
    last_checkpoint(tmp_path).write_text("")
    assert starting_point(tmp_path, "auto") == str(last_checkpoint(tmp_path))


def test_there_is_nothing_to_continue_in_an_empty_folder(tmp_path):
    with pytest.raises(UserError, match="nothing to continue"):
        starting_point(tmp_path, "last")


def test_a_named_checkpoint_must_exist(tmp_path):
    with pytest.raises(UserError, match=r"no checkpoint at .*gone.ckpt"):
        starting_point(tmp_path, str(tmp_path / "gone.ckpt"))


def test_rows_survive_reopening_and_new_columns_widen_the_file(tmp_path):
    rows = CsvRows(tmp_path / "m.csv")
    rows.append(0, {"a": 1.0})
    rows.append(1, {"b": 2.0})
    CsvRows(tmp_path / "m.csv").append(2, {"a": 3.0, "b": 4.0})
    assert (tmp_path / "m.csv").read_text().split() == ["step,a,b", "0,1.0,", "1,,2.0", "2,3.0,4.0"]


def test_cutting_forgets_later_rows_and_a_half_written_one(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("step,a\n0,1.0\n5,2.0\n9,3.0\n1")
    CsvRows(path).cut(5)
    assert path.read_text().split() == ["step,a", "0,1.0", "5,2.0"]


def test_a_row_follows_a_half_written_one_on_a_line_of_its_own(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("step,a\n0,1.0\n5,2.")
    CsvRows(path).append(9, {"a": 3.0})
    assert path.read_text().split()[-1] == "9,3.0"
    assert CsvRows(path).rows[0] == {"step": "0", "a": "1.0"}


def test_a_test_that_is_repeated_adds_no_row(tmp_path):
    for loss in (1.0, 1.0, 0.5):
        MetricsCsv(tmp_path).log_metrics({"test/loss": loss, "epoch": 3}, step=8)
    assert (tmp_path / "metrics.csv").read_text().split() == ["step,test/loss", "8,1.0", "8,0.5"]


def test_the_metrics_logger_appends_to_an_old_file(tmp_path):
    logger = MetricsCsv(tmp_path)
    for _ in range(2):  # a checkpoint has the row of its step written before Lightning does it
        logger.log_metrics({"loss": 1.0, "epoch": 0}, step=0)
    MetricsCsv(tmp_path).log_metrics({"loss": 0.5}, step=1)
    assert (tmp_path / "metrics.csv").read_text().split() == ["step,loss", "0,1.0", "1,0.5"]


def test_step_seeds_differ_in_every_number():
    seeds = {step_seed(a, b, c) for a in range(5) for b in range(5) for c in range(5)}
    assert len(seeds) == 125
    assert all(0 <= seed < 2**63 for seed in seeds)
