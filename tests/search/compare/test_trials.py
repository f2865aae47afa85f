"""``python -m search.compare``: controllers on a frozen supernet, then choices trained alone."""

import json
import shlex
from pathlib import Path

import pytest
import torch

from search.compare.benchmark import Benchmark, Budget, read_search
from search.compare.comparison import comparison_options
from search.compare.trials import Trial, TrialRunner, hypervolume
from search.objective.feasible import cheapest, costliest
from supernet.errors import UserError
from supernet.training.config import read_training
from tests.helpers.documented import undocumented
from tests.helpers.html_page import Page
from tests.helpers.interrupted import SIGNALS, stopped_and_continued
from tests.helpers.tiny import MACS, SPACE
from tests.helpers.toy_comparison import SEARCH, compare, first_stage, save_run, toy_options

ROOT = Path(__file__).parents[3]


@pytest.fixture
def files(tmp_path, _percentiles_once):
    return toy_options(tmp_path)


@pytest.fixture
def supernet(tmp_path):
    return first_stage(tmp_path)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def untimed(row):
    return {name: value for name, value in row.items() if not name.endswith("seconds")}


# The command

FEW = ("--seeds", "1", "--evaluations", "8", "--retrain", "0")


def test_controllers_are_compared_once_and_their_choices_are_trained(
    files, supernet, tmp_path, capsys
):
    compare(files, *supernet)
    path = tmp_path / "cache-contests.jsonl"
    rows = lines(path)
    assert [(row["controller"], row["seed"]) for row in rows] == [
        ("tunas", 0),
        ("random", 0),
        ("tunas", 1),
        ("random", 1),
    ]
    assert all(row["evaluations"] == 24 for row in rows)
    assert (tmp_path / "run/compare.png").stat().st_size > 10_000
    first = capsys.readouterr().out
    for word in ("supernet ", "tunas ", "random ", "test accuracy, %", "tunas, seed 0", "network "):
        assert f"\n{word}" in first
    told = json.loads((tmp_path / "run/compare.json").read_text())
    assert undocumented(tmp_path / "run/compare.json") == set()
    page = Page((tmp_path / "run/report.html").read_text()).words["comparison"]
    assert all(one in page for one in (told["conclusion"], *told["facts"], *told["tables"]))
    assert told["tables"]["supernet"]["tunas"]["beats it"].endswith(" of 2")
    assert [one["choice"] for one in told["retrained"]] == ["tunas, seed 0", "random, seed 0"]
    for row, one in zip(rows[:2], told["retrained"], strict=True):
        # The supernet's own training, then scoring and judging, of which an image counts a third.
        spent = 5e8 + (row["image_macs"] + row["judging_image_macs"]) / 3
        assert one["search_in_trainings"]["by MACs"] == pytest.approx(
            spent / (one["macs"] * 4 * 64), rel=1e-9
        )
    kept = [(one, one.read_bytes()) for one in (path, tmp_path / "cache.jsonl")]
    compare(files, *supernet)
    assert all(one.read_bytes() == content for one, content in kept)
    assert capsys.readouterr().out.splitlines()[-12:] == first.splitlines()[-12:]


def test_a_lost_trial_is_run_again_to_the_same_result_and_other_settings_are_trials_of_their_own(
    files, supernet, tmp_path
):
    compare(files, *supernet, *FEW)
    path = tmp_path / "cache-contests.jsonl"
    whole = lines(path)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    compare(files, *supernet, *FEW)
    assert untimed(lines(path)[-1]) == untimed(whole[0])
    assert not (tmp_path / "cache.jsonl").exists()
    changed = f"{SEARCH}  controller: {{tunas: {{lr: 0.05}}}}\n"
    (tmp_path / "found/config.yaml").write_text(changed)
    compare(files, *supernet, *FEW)
    assert [row["controller"] for row in lines(path)] == ["random", "tunas", "tunas"]


# A trial


def budget(tmp_path, evaluations=24, top=2):
    return Budget(read_search(tmp_path / "found/config.yaml"), evaluations, top)


@pytest.fixture
def runner(files, tmp_path):
    checkpoint = tmp_path / "found/checkpoints/last.ckpt"
    return TrialRunner(budget(tmp_path), read_training(tmp_path / "retrain.yaml"), [checkpoint])


def test_a_trial_is_a_function_of_controller_and_seed(runner):
    first = runner(Trial(0, "ppo", 0))
    torch.randn(3)  # an earlier draw changes nothing
    assert untimed(runner(Trial(0, "ppo", 0))) == untimed(first)
    other = runner(Trial(0, "ppo", 1))
    assert other["mean_rewards"] != first["mean_rewards"]


def test_a_trial_reports_what_it_evaluated(runner, monkeypatch):
    asked = []
    original = Benchmark.slice_scores

    def counted(benchmark, supernet, indices, batch):
        found = original(benchmark, supernet, indices, batch)
        archs = map(SPACE.decode, indices.tolist())
        asked.extend(zip(archs, found.tolist(), strict=True))
        return found

    monkeypatch.setattr(Benchmark, "slice_scores", counted)
    row, objective = runner(Trial(0, "evolution", 0)), runner.benchmark.objective
    assert len(asked) == row["evaluations"] == 24
    costs = [MACS.predict(SPACE.spec(arch)) for arch, _ in asked]
    rewards = [
        objective.reward(accuracy, cost, objective.targets[0].cost)
        for (_, accuracy), cost in zip(asked, costs, strict=True)
    ]
    means = [sum(rewards[i : i + 4]) / 4 for i in range(0, 24, 4)]
    assert row["mean_rewards"] == pytest.approx(means, abs=1e-4)
    assert row["best_so_far"][-1] == pytest.approx(max(rewards), abs=1e-4)
    assert row["within_target"] == sum(cost <= objective.targets[0].cost for cost in costs) / 24
    assert row["networks"] == len({SPACE.canonical(arch) for arch, _ in asked})
    assert row["image_macs"] == 32 * sum(costs)
    assert row["front"] == sorted(row["front"])
    assert 0 < row["hypervolume"] < 1


def test_the_best_are_scored_again_by_recalibrated_networks(runner, monkeypatch):
    judged_codes = []
    original = Benchmark.judging

    def recorded(benchmark, supernet, codes):
        judged_codes.extend(codes)
        return original(benchmark, supernet, codes)

    monkeypatch.setattr(Benchmark, "judging", recorded)
    row, benchmark = runner(Trial(0, "random", 0)), runner.benchmark
    assert len(row["rescored"]) == 2
    for one in row["rescored"]:
        arch = SPACE.decode(one["code"])
        judged = benchmark.supernets[0].evaluate(arch)
        assert (one["accuracy"], one["score"]) == (judged.accuracy, judged.soft_accuracy)
    objective = benchmark.objective
    rewards = [
        objective.reward(one["score"], one["cost"], objective.targets[0].cost)
        for one in row["rescored"]
    ]
    assert row["best_reward"] == max(rewards)
    assert row["choice"]["cost"] <= objective.targets[0].cost
    # What it takes: 32 images for the statistics, then the validation split, of each network once.
    assert {tuple(one["code"]) for one in (*row["rescored"], row["choice"])} <= set(judged_codes)
    macs = [MACS.predict(SPACE.spec(SPACE.decode(code))) for code in set(judged_codes)]
    images = 32 + len(benchmark.runner.data.val_dataloader().dataset)
    assert row["judging_image_macs"] == images * sum(macs)
    assert row["judging_seconds"] > 0
    again = benchmark.judging(0, [*judged_codes, *judged_codes])
    assert again["judging_image_macs"] == row["judging_image_macs"]
    assert again["judging_seconds"] == row["judging_seconds"]


def test_the_front_is_of_accuracies_on_all_validation_images(runner):
    row, benchmark = runner(Trial(0, "random", 0)), runner.benchmark
    judged = {found.cost: found.accuracy for found, _ in benchmark._rescored.values()}
    assert all(judged[cost] == accuracy for cost, accuracy in row["front"])
    (cost, accuracy), (_, least) = row["reference"], cheapest(benchmark.objective.costs)
    assert (cost, accuracy) == (costliest(benchmark.objective.costs)[1], 0.1)
    area = hypervolume(row["front"], cost, accuracy) / ((cost - least) * 0.9)
    assert row["hypervolume"] == pytest.approx(area, rel=1e-12)


def seen(image):
    return tuple(image.flatten().tolist())


def test_reward_batches_are_those_that_the_search_held_out(runner):
    benchmark = runner.benchmark
    first, second = (list(benchmark.batches(0, seed)) for seed in (0, 1))
    assert len(first) == len(second) == 6
    assert not torch.equal(first[0][0], second[0][0])
    held_out = {seen(image) for image, _ in benchmark.runner.data.reward_dataloader().dataset}
    for images, labels in first:
        assert images.shape == (32, 3, 8, 8)
        assert len(labels) == 32
        assert set(map(seen, images)) <= held_out


def test_evaluations_must_fill_their_updates(files, tmp_path):
    with pytest.raises(UserError, match="--evaluations is 25, it must be a multiple of the 4"):
        budget(tmp_path, evaluations=25)
    assert budget(tmp_path, evaluations=28).updates == 7


# Finished searches


def test_finished_searches_are_retrained_and_pooled_also_without_their_cost(
    files, tmp_path, capsys
):
    archs = [SPACE.decode([value] * 12) for value in (0, 1)]
    a, b = (
        save_run(tmp_path / name, arch, told=name == "a")
        for name, arch in zip("ab", archs, strict=True)
    )
    compare(files, "--runs", a, b / "arch.json")
    out = capsys.readouterr().out
    assert f"\n{a} " in out
    assert f"\n{b / 'arch.json'} " in out
    told = json.loads((tmp_path / "run/compare.json").read_text())
    assert undocumented(tmp_path / "run/compare.json") == set()
    assert told["tables"]["pooled, %"]["searches"]["searches"] == "2"
    rows = lines(tmp_path / "cache.jsonl")
    # Two random networks of each with the seed that picks; the best and the choice with two more.
    assert len(rows) == 2 * (2 + 2 * 2)
    first, second = told["retrained"]
    macs = MACS.predict(SPACE.spec(archs[0]))
    assert first["macs"] == macs
    # A training here is 4 steps of 64 images.
    assert first["search_in_trainings"]["by MACs"] == pytest.approx(5e8 / (macs * 256))
    assert second["search_in_trainings"] == {}
    (untold,) = [row for name, row in told["tables"]["network"].items() if name.startswith(str(b))]
    assert untold["search in trainings, by MACs"] == "-"
    assert not (tmp_path / "cache-contests.jsonl").exists()


# Stops


@pytest.mark.slow
@pytest.mark.parametrize("how", SIGNALS)
def test_a_stopped_comparison_goes_on_where_it_was(files, supernet, tmp_path, how):
    more = ("--evaluations", "240", "--retrain", "0", "--processes", "2")
    kept, out, rows = stopped_and_continued(
        "search.compare", [*files, *supernet, *more], tmp_path / "cache-contests.jsonl", 1, how
    )
    assert 1 <= kept < 4
    assert "trials 4/4" in out
    assert len({(row["controller"], row["seed"]) for row in rows}) == len(rows) == 4


# The manual


def test_the_commands_of_the_manual_parse():
    manual = (ROOT / "docs/lab-notebook.md").read_text().splitlines()
    commands = [line for line in manual if line.startswith("mnasnet compare ")]
    assert len(commands) == 2
    for line in commands:
        assert (ROOT / comparison_options(shlex.split(line)[2:]).config).exists()
