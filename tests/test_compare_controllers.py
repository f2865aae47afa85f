"""``python -m search.compare``: controllers on a frozen supernet, then choices trained alone."""

import dataclasses
import json
import shlex
from pathlib import Path

import pytest
import torch

from search.arena import Arena, Rules
from search.compare import main, parse
from search.compare_controllers import Contests, Entry
from search.search_file import read_search
from supernet.archfile import ArchFile, write_arch
from supernet.errors import UserError
from supernet.trainingfile import read_training
from tests.interrupted import SIGNALS, stopped_and_continued
from tests.tiny import MACS, SPACE, TRAINING, save_supernet

ROOT = Path(__file__).parent.parent
SEARCH = """
model:
  cost: macs
  target: p40
  sampling: {samples: 4, images: 32}
  final: {samples: 8, recalibration_images: 32}
"""
SECONDS = {"seconds": 9.0, "cpu_seconds": 8.0}
SPENT = {"Health": {"image_macs": 5e8}, "Spending": SECONDS}


@pytest.fixture
def files(tmp_path):
    """Options of a toy comparison, and the run folder of the search that it starts from."""
    (tmp_path / "retrain.yaml").write_text(TRAINING.replace("STEPS", "4"))
    save_supernet(tmp_path / "found/checkpoints/last.ckpt", callbacks=SPENT)
    (tmp_path / "found/config.yaml").write_text(SEARCH)
    return [
        "-c", tmp_path / "retrain.yaml", "--cache", tmp_path / "cache.jsonl",
        "--run", tmp_path / "run", "--random", "2", "--trainings", "2", "--top", "2",
    ]  # fmt: skip


@pytest.fixture
def supernet(tmp_path):
    """Options of the first stage."""
    return [
        "--supernet", tmp_path / "found/checkpoints/last.ckpt", "--evaluations", "24", "--seeds",
        "2", "--controllers", "tunas", "random",
    ]  # fmt: skip


def compare(files, *more):
    main([str(word) for word in (*files, *more)])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def untimed(row):
    return {name: value for name, value in row.items() if not name.endswith("seconds")}


# The command


def test_controllers_are_compared_once_and_their_choices_are_trained(
    files, supernet, tmp_path, capsys
):
    compare(files, *supernet)
    path = tmp_path / "cache-contests.jsonl"
    rows = lines(path)
    assert [(row["controller"], row["seed"]) for row in rows] == [
        ("tunas", 0), ("random", 0), ("tunas", 1), ("random", 1),
    ]  # fmt: skip
    assert all(row["evaluations"] == 24 for row in rows)
    assert (tmp_path / "run/compare.png").stat().st_size > 10_000
    first = capsys.readouterr().out
    for word in ("supernet ", "tunas ", "random ", "test accuracy, %", "tunas, seed 0", "network "):
        assert f"\n{word}" in first
    told = json.loads((tmp_path / "run/compare.json").read_text())
    assert told["tables"]["supernet"]["tunas"]["beats it"].endswith(" of 2")
    assert [one["choice"] for one in told["retrained"]] == ["tunas, seed 0", "random, seed 0"]
    assert told["retrained"][0]["search_in_trainings"].keys() >= {"by MACs"}
    kept = [(one, one.read_bytes()) for one in (path, tmp_path / "cache.jsonl")]
    compare(files, *supernet)
    assert all(one.read_bytes() == content for one, content in kept)
    assert capsys.readouterr().out.splitlines()[-12:] == first.splitlines()[-12:]


def test_a_contest_lost_from_the_cache_is_held_again_to_the_same_result(files, supernet, tmp_path):
    compare(files, *supernet, "--retrain", "0")
    path = tmp_path / "cache-contests.jsonl"
    whole = lines(path)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    compare(files, *supernet, "--retrain", "0")
    assert untimed(lines(path)[-1]) == untimed(whole[0])
    assert not (tmp_path / "cache.jsonl").exists()


def test_other_settings_of_one_controller_leave_the_contests_of_the_others(
    files, supernet, tmp_path
):
    compare(files, *supernet, "--retrain", "0")
    changed = f"{SEARCH}  controller: {{tunas: {{lr: 0.05}}}}\n"
    (tmp_path / "found/config.yaml").write_text(changed)
    compare(files, *supernet, "--retrain", "0")
    rows = lines(tmp_path / "cache-contests.jsonl")
    assert [row["controller"] for row in rows[4:]] == ["tunas", "tunas"]


# A contest


def rules(tmp_path, evaluations=24, top=2):
    return Rules(read_search(tmp_path / "found/config.yaml"), evaluations, top)


@pytest.fixture
def contests(files, tmp_path):
    checkpoint = tmp_path / "found/checkpoints/last.ckpt"
    return Contests(rules(tmp_path), read_training(tmp_path / "retrain.yaml"), [checkpoint])


def test_a_contest_is_a_function_of_controller_and_seed(contests):
    first = contests(Entry(0, "ppo", 0))
    torch.randn(3)  # an earlier draw changes nothing
    assert untimed(contests(Entry(0, "ppo", 0))) == untimed(first)
    other = contests(Entry(0, "ppo", 1))
    assert other["mean_rewards"] != first["mean_rewards"]


def test_a_contest_reports_what_it_evaluated(contests, monkeypatch):
    asked = []
    original = Arena.slice_scores

    def counted(arena, supernet, archs, batch):
        found = original(arena, supernet, archs, batch)
        asked.extend(zip(archs, found.tolist(), strict=True))
        return found

    monkeypatch.setattr(Arena, "slice_scores", counted)
    row, goal = contests(Entry(0, "evolution", 0)), contests.arena.goal
    assert len(asked) == row["evaluations"] == 24
    costs = [MACS.predict(SPACE.spec(arch)) for arch, _ in asked]
    rewards = [goal.reward(accuracy, cost, goal.targets[0])
               for (_, accuracy), cost in zip(asked, costs, strict=True)]  # fmt: skip
    means = [sum(rewards[i : i + 4]) / 4 for i in range(0, 24, 4)]
    assert row["mean_rewards"] == pytest.approx(means, abs=1e-4)
    assert row["best_so_far"][-1] == pytest.approx(max(rewards), abs=1e-4)
    assert row["within_target"] == sum(cost <= goal.targets[0] for cost in costs) / 24
    assert row["networks"] == len({SPACE.canonical(arch) for arch, _ in asked})
    assert row["image_macs"] == 32 * sum(costs)
    assert row["front"] == sorted(row["front"])
    assert 0 < row["hypervolume"] < 1


def test_the_best_are_scored_again_by_recalibrated_networks(contests):
    row, arena = contests(Entry(0, "random", 0)), contests.arena
    assert len(row["rescored"]) == 2
    for one in row["rescored"]:
        arch = SPACE.decode(one["code"])
        assert one["accuracy"] == arena.supernets[0].evaluate(arch).accuracy
    goal = arena.goal
    rewards = [
        goal.reward(one["accuracy"], one["cost"], goal.targets[0]) for one in row["rescored"]
    ]
    assert row["best_reward"] == max(rewards)
    assert row["choice"]["cost"] <= goal.targets[0]


def seen(image):
    return tuple(image.flatten().tolist())


def test_reward_batches_are_those_that_the_search_held_out(contests):
    arena = contests.arena
    first, second = (list(arena.batches(0, seed)) for seed in (0, 1))
    assert len(first) == len(second) == 6
    assert not torch.equal(first[0][0], second[0][0])
    held_out = {seen(image) for image, _ in arena.trainer.data.reward_dataloader().dataset}
    for images, labels in first:
        assert images.shape == (32, 3, 8, 8)
        assert len(labels) == 32
        assert set(map(seen, images)) <= held_out


def test_evaluations_must_fill_their_updates(files, tmp_path):
    with pytest.raises(UserError, match="--evaluations is 25, it must be a multiple of the 4"):
        rules(tmp_path, evaluations=25)
    assert rules(tmp_path, evaluations=28).updates == 7


# Finished searches


def save_run(folder, arch, told=True):
    folder.mkdir()
    (folder / "config.yaml").write_text(SEARCH)
    fields = dict.fromkeys(("accuracy", "reward"), 0.5)
    cost = MACS.predict(SPACE.spec(arch))
    found = ArchFile(
        SPACE, arch, predicted=cost, target=cost, unit="macs", table="", device="", seed=0, step=0,
        **fields,
    )  # fmt: skip
    write_arch(folder / "arch.json", found)
    if told:
        (folder / "cost.json").write_text(json.dumps({"image_macs": 5e8, **SECONDS}))
    return folder


def test_finished_searches_are_retrained_and_pooled(files, tmp_path, capsys):
    archs = [SPACE.decode([value] * 12) for value in (0, 1)]
    a, b = (save_run(tmp_path / name, arch) for name, arch in zip("ab", archs, strict=True))
    compare(files, "--runs", a, b / "arch.json")
    out = capsys.readouterr().out
    assert f"\n{a} " in out
    assert f"\n{b / 'arch.json'} " in out
    told = json.loads((tmp_path / "run/compare.json").read_text())
    assert told["tables"]["pooled, %"]["searches"]["searches"] == "2"
    rows = lines(tmp_path / "cache.jsonl")
    # Two random networks of each with the seed that picks; the best and the choice with two more.
    assert len(rows) == 2 * (2 + 2 * 2)
    first = told["retrained"][0]
    macs = MACS.predict(SPACE.spec(archs[0]))
    assert first["macs"] == macs
    # A training here is 4 steps of 16 images.
    assert first["search_in_trainings"]["by MACs"] == pytest.approx(5e8 / (macs * 64))
    assert not (tmp_path / "cache-contests.jsonl").exists()


def test_a_search_that_did_not_tell_its_cost_is_compared_all_the_same(files, tmp_path):
    run = save_run(tmp_path / "a", SPACE.decode([0] * 12), told=False)
    compare(files, "--runs", run)
    told = json.loads((tmp_path / "run/compare.json").read_text())
    assert told["retrained"][0]["search_in_trainings"] == {}
    assert told["tables"]["network"][str(run)]["search in trainings, by MACs"] == "-"


# Stops


@pytest.mark.slow
@pytest.mark.parametrize("how", SIGNALS)
def test_a_stopped_comparison_goes_on_where_it_was(files, supernet, tmp_path, how):
    more = ("--evaluations", "240", "--retrain", "0", "--processes", "2")
    kept, out, rows = stopped_and_continued(
        "search.compare", [*files, *supernet, *more], tmp_path / "cache-contests.jsonl", 1, how
    )
    assert 1 <= kept < 4
    assert "contests 4/4" in out
    assert len({(row["controller"], row["seed"]) for row in rows}) == len(rows) == 4


# The manual


def test_the_commands_of_the_manual_parse():
    manual = (ROOT / "docs/search-quality.md").read_text().splitlines()
    commands = [line for line in manual if line.startswith("python -m search.compare ")]
    assert len(commands) == 2
    for line in commands:
        assert (ROOT / parse(shlex.split(line)[3:]).config).exists()


# Bad input

WRONG = {
    "--seeds 0": "--seeds is 0, it must be at least 1",
    "--top 0": "--top is 0, it must be at least 1",
    "--retrain 3": "--retrain is 3, but there are 2 --seeds",
    "--random 1": "--random is 1, it must be at least 2",
    "--trainings 0": "--trainings is 0, it must be at least 1",
    "--processes 0": "--processes is 0, it must be at least 1",
    "--steps 0": "--steps is 0, it must be at least 1",
    "--evaluations 3": "--evaluations is 3, it must be a multiple of the 4 samples",
    "--controllers magic": "invalid choice: 'magic'",
    "--controllers random random": "--controllers names random twice",
    "--retrain 0 --runs r": "--retrain 0 leaves nothing to do with --runs",
    "--runs gone": "cannot read gone/config.yaml",
    "--search gone.yaml": "cannot read gone.yaml",
    "--search pyproject.toml": "cannot read pyproject.toml",
    "--search configs/spaces/paper.yaml": "configs/spaces/paper.yaml has no section model",
    "--search configs/clutter/retrain.yaml": "no search has model.recipe",
    "--target fast": "target 'fast' is neither a number of macs",
    "--target 1": "target 1 macs lies below the cheapest network",
    "-c gone.yaml": "cannot read gone.yaml",
    "--supernet pyproject.toml": "is no checkpoint of a search",
}


@pytest.mark.parametrize("options", WRONG)
def test_an_option_that_cannot_be_is_named_in_one_line(files, supernet, tmp_path, options):
    if "--supernet" in options:
        options = f"{options} --search {tmp_path / 'found/config.yaml'}"
    with pytest.raises(UserError) as refused:
        compare(files, *supernet, *options.split())
    expected = next(line for wrong, line in WRONG.items() if options.startswith(wrong))
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.glob("cache*"))


def test_neither_a_supernet_nor_a_run_is_refused(files):
    with pytest.raises(UserError, match="give a --supernet for controllers to search on, or"):
        compare(files)


def test_searches_of_two_manners_or_spaces_are_refused(files, supernet, tmp_path):
    other = dataclasses.replace(SPACE, ops=("conv", "sepconv"))
    more = save_supernet(tmp_path / "other/checkpoints/last.ckpt", other)
    (tmp_path / "other/config.yaml").write_text(SEARCH.replace("p40", "p60"))
    both = [*supernet, "--supernet", supernet[1], more]
    with pytest.raises(UserError, match=r"other/config\.yaml searches in another manner than"):
        compare(files, *both)
    (tmp_path / "other/config.yaml").write_text(SEARCH)
    with pytest.raises(UserError, match=r"last\.ckpt has another space than .*last\.ckpt"):
        compare(files, *both)


@pytest.mark.parametrize("broken", ["", "[1]", '{"trained": 1}'])
def test_a_broken_cost_file_is_refused(files, tmp_path, broken):
    run = save_run(tmp_path / "a", SPACE.decode([0] * 12))
    (run / "cost.json").write_text(broken)
    with pytest.raises(UserError, match=r"cost\.json is broken"):
        compare(files, "--runs", run)


def test_a_found_network_for_other_images_is_refused(files, tmp_path):
    run = save_run(tmp_path / "a", SPACE.decode([0] * 12))
    config = tmp_path / "retrain.yaml"
    config.write_text(config.read_text().replace("resolution: 8", "resolution: 12"))
    with pytest.raises(UserError, match=r"8 px .* but the config's data have 10, 12 and 1"):
        compare(files, "--runs", run)
