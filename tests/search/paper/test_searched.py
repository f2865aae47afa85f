"""Searches of an experiment: how they are called, found again, and read."""

import dataclasses
import json
from argparse import Namespace
from pathlib import Path

import pytest

from search.evaluation.run_jobs import RunCommands
from search.paper.experiment import Scale
from search.paper.searched import Searches, SearchJob, spec_of
from tests.helpers.tiny import MACS, SPACE
from tests.helpers.toy_comparison import save_run

SCALE = Scale(
    "clutter/retrain",
    resolution=12,
    search="clutter/search",
    target="p40",
    options=("--model.cost=macs",),
)


@pytest.fixture
def searches(tmp_path):
    def make(scale=SCALE, **options):
        given = Namespace(processes=1, root=None, table=None, run=tmp_path / "run")
        return Searches(scale, tmp_path / "searches.jsonl", Namespace(**{**vars(given), **options}))

    return make


def test_all_searches_of_an_experiment_have_one_target_in_numbers(searches):
    one = searches()
    kernels = SearchJob(("--model.space.kernels=[3]",), 2)
    ((words, *others),) = [one.commands(kernels).commands]
    assert not others
    assert words[:2] == ["search", "fit"]
    assert words[-2:] == ["--model.cost=macs", "--model.space.kernels=[3]"]
    (target,) = [word for word in words if "model.target" in word]
    cost = float(target.partition("=")[2])
    below = [MACS.predict(one.space.spec(arch)) <= cost for arch in sample(one.space, 200)]
    assert 0.25 < sum(below) / 200 < 0.55


def sample(space, number):
    archs = space.samples(seed=1)
    return [next(archs) for _ in range(number)]


def test_a_search_is_another_by_its_options_target_and_seed_and_not_by_its_table(searches):
    job = SearchJob(("--model.space.kernels=[3]",), 2)
    other_target = searches(dataclasses.replace(SCALE, target="p50"))
    identities = [
        searches().identity(job),
        searches().identity(dataclasses.replace(job, seed=3)),
        searches().identity(dataclasses.replace(job, words=())),
        other_target.identity(job),
    ]
    assert len({json.dumps(one) for one in identities}) == 4
    assert searches(table="other.json").identity(job) == identities[0]


def test_what_a_search_has_found_is_kept_and_not_searched_again(searches, tmp_path, monkeypatch):
    folder = save_run(tmp_path / "found", SPACE.canonical(next(SPACE.samples(0))))

    def commands(self, job):
        return RunCommands(folder, [["platform"]])

    monkeypatch.setattr(Searches, "commands", commands)
    (rows,) = searches().rows([()], range(2))
    assert [row["seed"] for row in rows] == [0, 1]
    assert rows[0]["image_macs"] == 5e8
    assert spec_of(rows[0]).block_strings() == rows[0]["blocks"]
    monkeypatch.setattr(Searches, "commands", None)
    assert searches().rows([()], range(2)) == [rows]


def test_the_space_has_the_images_of_the_scale(searches):
    space = searches(dataclasses.replace(SCALE, resolution=16, classes=3)).space
    assert (space.resolution, space.classes, space.stem_stride) == (16, 3, 1)
    assert space.width == 0.2
    assert Path(searches().config).name == "search.yaml"
