"""``mnasnet paper`` with clouds: what it searches and samples, keeps, prints and refuses."""

import json

import pytest
import yaml

from search.paper import sampled
from search.paper.command import main
from supernet.errors import UserError
from supernet.report.search_sections import NEXT_STEP
from tests.helpers.labelled_search import TARGET, write_search

TOY = {
    "kind": "clouds",
    "title": "Figure 0: toys",
    "claim": "hard concentrates",
    "rewards": [
        {"name": "hard", "kind": "hard", "alpha": 0.0, "beta": -1.0},
        {"name": "rule", "kind": "soft", "by_rule": True},
    ],
    "hard": "hard",
    "softs": ["rule"],
    "samples": 40,
    "scales": {"embedded": {"search": "clutter/search", "target": TARGET, "seeds": 2}},
}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Runs a toy experiment, with changed settings and further options; says what it searched."""
    searched = []

    def search(runs, processes):
        for seed, one in runs.items():
            write_search(one.folder, gain=0.1)
            (one.folder / NEXT_STEP).touch()
            searched.append(one.commands[0])
            yield seed

    def run(*options, **changes):
        (tmp_path / "toy.yaml").write_text(yaml.safe_dump({**TOY, **changes}))
        own = ["--run", tmp_path / "run", "--cache", tmp_path / "cache.jsonl", *options]
        main([str(word) for word in (tmp_path / "toy.yaml", *own)])
        return searched

    monkeypatch.setattr(sampled, "ended_runs", search)
    return run


def test_clouds_are_sampled_once_and_only_their_searches_are_made(toy, tmp_path, capsys):
    searched = toy("--seeds", "1", "--table", "phone.json")
    (words,) = searched
    assert words[:5] == ["search", "fit", "-c", "clutter/search", "--model.table=phone.json"]
    rows = [json.loads(line) for line in (tmp_path / "cache-clouds.jsonl").read_text().splitlines()]
    assert [(row["reward"], len(row["cost"])) for row in rows] == [("hard", 40), ("rule", 40)]
    told = json.loads((tmp_path / "run/paper.json").read_text())
    assert [*told["tables"]] == ["all samples", "later half of the samples"]
    assert (tmp_path / "run/paper.png").stat().st_size > 10_000
    first = capsys.readouterr().out
    assert "one seed cannot tell" in first.splitlines()[-1]
    assert f"{rows[0]['rule']:.3f}" in first

    kept = (tmp_path / "cache-clouds.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "cache-clouds.jsonl").write_text(kept[0])
    toy("--seeds", "1", "--table", "phone.json")
    assert len(searched) == 1  # it has ended, and its folder is there
    assert (tmp_path / "cache-clouds.jsonl").read_text().count("\n") == 2


def test_a_plan_says_what_it_takes_and_leaves_no_file(toy, tmp_path, capsys):
    toy("--dry_run")
    assert "2 searches by clutter/search and 4 clouds of 40 samples" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["toy.yaml"]


@pytest.mark.parametrize(
    ("options", "changes", "words"),
    [
        (("--steps", "5"), {}, "--steps is for experiments that train"),
        ((), {"hard": "harder"}, "hard and softs: reward is 'harder', allowed are hard, rule"),
        ((), {"samples": 0}, "samples is 0, it must be at least 1"),
        (
            (),
            {"rewards": [{"name": "hard", "kind": "mild"}]},
            "rewards[1].kind is 'mild', allowed are absolute, soft, hard",
        ),
        (("--scale", "imagenet"), {}, "has no scale imagenet, but embedded"),
    ],
)
def test_what_no_clouds_are_is_refused(toy, options, changes, words):
    with pytest.raises(UserError) as refused:
        toy(*options, **changes)
    assert words in str(refused.value)


def test_clouds_of_imagenet_say_what_they_take_and_need_its_images(capsys, tmp_path):
    main(["figure6", "--scale", "imagenet", "--dry_run"])
    told = capsys.readouterr().out
    assert "3 searches by imagefolder/search and 12 clouds of 1,000 samples: about 36 GPU" in told
    with pytest.raises(UserError, match=r"needs ImageNet's images: give --data.root"):
        main(["figure6", "--scale", "imagenet", "--run", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()
