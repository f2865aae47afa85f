"""``python -m search.rank``: the whole command, its scores and its errors."""

import contextlib
import dataclasses
import io
import json
import random
import shutil
from pathlib import Path

import pytest

from search.evaluation.trainings import jobs_of, network_hash
from search.rank.ranking import Ranking, main, ranking_options
from supernet.errors import UserError
from tests.helpers.documented import undocumented
from tests.helpers.html_page import Page
from tests.helpers.interrupted import SIGNALS, stopped_and_continued
from tests.helpers.tiny import SHORT_TRAINING, SPACE, TRAINING, save_supernet

ROOT = Path(__file__).parents[3]
SPACE_YAML = """
base_filters: [8, 16]
base_layers: [1, 1]
strides: [1, 2]
stem: 8
head: 16
"""


def toy_options(folder):
    """Options of a toy ranking: two networks of each of two bands, four steps."""
    (folder / "retrain.yaml").write_text(SHORT_TRAINING)
    (folder / "space.yaml").write_text(SPACE_YAML)
    return [
        "-c",
        folder / "retrain.yaml",
        "--cost",
        "macs",
        "--cache",
        folder / "cache.jsonl",
        "--run",
        folder / "run",
        "--networks",
        "4",
        "--bands",
        "2",
        "--seeds",
        "2",
        "--ridge",
        "--short",
        "0.5",
        "--tuning",
    ]


@pytest.fixture
def files(tmp_path):
    return toy_options(tmp_path)


def rank(files, *more):
    main([str(word) for word in (*files, *more)])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


# The command


@pytest.fixture(scope="module")
def ranked(tmp_path_factory):
    """The folder of a ranking without a supernet, and what it has printed."""
    folder, printed = tmp_path_factory.mktemp("ranked"), io.StringIO()
    with contextlib.redirect_stdout(printed):
        rank(toy_options(folder), "--space", folder / "space.yaml")
    return folder, printed.getvalue()


def test_a_ranking_without_a_supernet_trains_everything_once(ranked, capsys):
    folder, first = ranked
    rows = lines(folder / "cache.jsonl")
    assert len(rows) == 4 * 2 + 4
    assert sorted({(row["steps"], row["seed"]) for row in rows}) == [(2, 2), (4, 0), (4, 1)]
    assert all(row["image_macs"] == row["macs"] * row["steps"] * 64 for row in rows)
    assert (folder / "run" / "rank.png").stat().st_size > 10_000
    before = (folder / "cache.jsonl").read_bytes()
    report = json.loads((folder / "run" / "rank.json").read_text())
    assert undocumented(folder / "run" / "rank.json") == set()
    assert undocumented(folder / "cache.jsonl", "Rows of trainings") == set()
    page = Page((folder / "run" / "report.html").read_text()).words["ranking"]
    assert all(one in page for one in (report["conclusion"], *report["facts"], *report["tables"]))
    tables, networks = report["tables"], report["networks"]["uniform"]
    scored = {one["network"]: one["test"] for one in networks}
    trained = {(row["network"], row["seed"]): row["test"] for row in rows if row["steps"] == 4}
    assert {(name, seed): test[seed] for name, test in scored.items() for seed in (0, 1)} == trained
    macs = {row["network"]: row["macs"] for row in rows}
    assert all(one["scores"]["MACs"] == macs[one["network"]] for one in networks)
    assert tables["Kendall's tau"]["MACs"]["all"].keys() == {"value", "low", "high"}
    rank(toy_options(folder), "--space", folder / "space.yaml")
    assert (folder / "cache.jsonl").read_bytes() == before
    again = capsys.readouterr().out
    assert again.splitlines()[-20:] == first.splitlines()[-20:]
    for word in ("one training (noise ceiling)", "MACs", "params", "training of 50% length"):
        assert f"\n{word} " in again


def told(files, tmp_path):
    """A ranking whose trainings have made-up results, by (network, seed); nothing is trained."""
    options = ranking_options(
        [str(word) for word in (*files, "--space", tmp_path / "space.yaml", "--seeds", "2")]
    )
    ranking, rng = Ranking(options), random.Random(0)
    specs = [one.spec for one in ranking.networks]
    jobs = [*ranking.jobs(ranking.networks), *jobs_of(specs, [2], ranking.num_steps // 2)]
    for job in jobs:
        result = {name: rng.random() for name in ("val", "test", "val_loss", "test_loss")}
        ranking.trainings._append({**ranking.trainings.identity(job), **result})
    rows = lines(tmp_path / "cache.jsonl")
    return ranking, {(row["network"], row["seed"]): row for row in rows}


def test_the_truth_is_the_test_accuracy_of_each_network_by_seed(files, tmp_path):
    ranking, rows = told(files, tmp_path)
    yardstick = ranking._yardstick(ranking.uniform)
    names = [network_hash(one.spec) for one in ranking.networks]
    expected = [[rows[name, seed]["test"] for seed in (0, 1)] for name in names]
    assert yardstick.runs.tolist() == expected
    assert yardstick.truth.tolist() == pytest.approx([sum(pair) / 2 for pair in expected])
    assert yardstick.bands.tolist() == [0, 1, 0, 1]
    assert yardstick.costs.tolist() == [one.cost for one in ranking.networks]


def test_a_short_training_scores_by_validation_images_with_a_seed_of_its_own(files, tmp_path):
    ranking, rows = told(files, tmp_path)
    expected = [rows[network_hash(one.spec), 2]["val"] for one in ranking.networks]
    assert ranking._short_runs(ranking.networks).tolist() == expected


def test_a_training_lost_from_the_cache_is_trained_again_to_the_same_result(
    files, tmp_path, ranked
):
    kept, path = (ranked[0] / "cache.jsonl").read_text(), tmp_path / "cache.jsonl"
    path.write_text("".join(kept.splitlines(keepends=True)[1:]))
    rank(files, "--space", tmp_path / "space.yaml")
    whole, found = lines(ranked[0] / "cache.jsonl"), lines(path)
    assert len(found) == len(whole)
    measured = ("config", "network", "seed", "val", "test", "val_loss", "test_loss")
    assert {k: found[-1][k] for k in measured} == {k: whole[0][k] for k in measured}


@pytest.fixture
def checkpoint(tmp_path):
    """The supernet of a search that has not learnt anything yet."""
    return save_supernet(tmp_path / "last.ckpt")


def test_a_supernet_is_judged_beside_the_free_scores(files, tmp_path, checkpoint, ranked, capsys):
    files = [*files, "--short", "0"]
    shutil.copy(ranked[0] / "cache.jsonl", tmp_path)  # its space is the same
    rank(files, "--supernet", checkpoint)
    scores = lines(tmp_path / "cache-scores.jsonl")
    assert len(scores) == 4
    assert all(0 <= row["accuracy"] <= 1 and row["loss"] > 0 for row in scores)
    out = capsys.readouterr().out
    for word in ("supernet ", "supernet, by loss", "supernet, less", "MACs"):
        assert f"\n{word}" in out
    rank(files, "--supernet", checkpoint)
    assert lines(tmp_path / "cache-scores.jsonl") == scores
    rank(files, "--supernet", checkpoint, "--tuning", "2")
    assert lines(tmp_path / "cache-scores.jsonl")[:4] == scores
    tuned = lines(tmp_path / "cache-scores.jsonl")[4:]
    assert [row["network"] for row in tuned] == [row["network"] for row in scores]
    assert {row["tuning"] for row in tuned} == {2}
    assert [row["loss"] for row in tuned] != [row["loss"] for row in scores]
    assert "\nsupernet, tuned for 2 " in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("how", SIGNALS)
def test_a_stopped_ranking_goes_on_where_it_was(files, tmp_path, how):
    (tmp_path / "retrain.yaml").write_text(TRAINING.replace("STEPS", "60"))
    options = [*files, "--space", tmp_path / "space.yaml", "--processes", "2", "--short", 0]
    kept, out, rows = stopped_and_continued(
        "search.rank", options, tmp_path / "cache.jsonl", 2, how
    )
    assert 2 <= kept < 8
    assert "trainings 8/8" in out
    assert len({(row["network"], row["seed"]) for row in rows}) == len(rows) == 8


def test_slices_are_tuned_for_forty_steps_unless_told(files, tmp_path):
    space = tmp_path / "s.yaml"
    space.touch()
    options = ranking_options([str(one) for one in (*files[:-1], "--space", space)])
    assert options.tuning == [40]


WRONG = {
    "--networks 3": "--networks is 3, it must be at least 4",
    "--networks 4 --bands 3": "--networks is 4, too few for 3 bands of at least 2",
    "--seeds 0": "--seeds is 0, it must be at least 1",
    "--tuning 0": "--tuning is 0, it must be at least 1",
    "--steps 0": "--steps is 0, it must be at least 1",
    "--short 1": "--short is 1.0, it must be at least 0 and below 1",
    "--ridge 2": "--ridge is 2, it must be at least 3",
    "--policy 4": "--policy is 4, it must be at least 4, and needs a --supernet",
    "--cost joule": "invalid choice: 'joule'",
    "--cost macs --table t.json": "the latency table t.json prices ms, not macs",
    "--supernet gone.ckpt": "give the --supernet to judge, or the --space to draw from",
    "-c gone.yaml": "gone.yaml is no file, and no config",
    "-c pyproject.toml": "pyproject.toml",
    "--space gone.yaml": "gone.yaml is no file, and no config",
    "--frobnicate": "unrecognized arguments: --frobnicate",
}


@pytest.mark.parametrize("options", WRONG)
def test_an_option_that_cannot_be_is_named_in_one_line(files, tmp_path, options):
    with pytest.raises(UserError) as refused:
        rank(files, "--space", tmp_path / "space.yaml", *options.split())
    assert WRONG[options] in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "cache.jsonl").exists()


CONFIGS = {
    "copies: 1": ("copies: 0", "copies is 0, it must be at least 1"),
    "batch_size": ("batchsize", "data.batchsize is no option of ClutteredDigits"),
    "copies: 1}": ("copies: 1, difficulty: {noise: -1}}", "difficulty.noise is -1.0"),
    "lr: 0.04": ("lr: -1", "recipe.lr is -1.0, it must be above 0"),
    "ClutteredDigits": ("Nowhere", "does not describe data"),
    "max_steps: 4": ("max_steps: -1", "trainer.max_steps is -1 and max_epochs -1: give one"),
    "data:": ("date:", "has no section data"),
}


@pytest.mark.parametrize("old", CONFIGS)
def test_a_config_that_cannot_be_is_named_in_one_line(files, tmp_path, old):
    new, line = CONFIGS[old]
    config = tmp_path / "retrain.yaml"
    config.write_text(config.read_text().replace(old, new))
    with pytest.raises(UserError) as refused:
        rank(files, "--space", tmp_path / "space.yaml")
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_supernet_of_other_images_is_refused(files, tmp_path, checkpoint):
    config = tmp_path / "retrain.yaml"
    config.write_text(config.read_text().replace("resolution: 8", "resolution: 12"))
    with pytest.raises(UserError, match=r"8 px .* but the config's data have 10, 12 and 1"):
        rank(files, "--supernet", checkpoint)
    assert not (tmp_path / "cache.jsonl").exists()


def test_supernets_of_two_spaces_are_refused(files, tmp_path, checkpoint):
    other = dataclasses.replace(SPACE, ops=("conv", "sepconv"))
    path = save_supernet(tmp_path / "other.ckpt", other)
    with pytest.raises(UserError, match=r"other\.ckpt has another space than .*last\.ckpt"):
        rank(files, "--supernet", checkpoint, path)
