"""The figures: drawn from a run's files, saying what those files say."""

import csv
import json
import math
import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure

from search.figures import draw_entropy, draw_loss, draw_progress, draw_run, smooth
from search.front import WAY_OUT, Front, draw_pareto, read_front
from search.surrogate.figure import read_known
from supernet.arch_file import ArchFile, write_arch
from supernet.errors import UserError
from supernet.files.csv_table import read_columns
from supernet.space.arch import DECISIONS
from supernet.space.mnasnet import MnasSpace
from tests.helpers.surrogate_file import content

SPACE = MnasSpace(width=0.35, resolution=16, classes=10, stem_stride=1, head=256)
STEPS = range(400, 1000, 20)


def texts(figure: Figure) -> list[str]:
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def write_rows(path, rows) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(rows)


def update_row(step: int) -> dict[str, float]:
    """What the controller logs: every decision at half of its greatest entropy."""
    entropies = {
        f"entropy/{name}": math.log(len(values)) / 2 for name, values in SPACE.choices[0].items()
    }
    return {
        "step": step,
        "reward/mean": 0.5 + step / 2000,
        "reward/accuracy": 0.6 + step / 4000,
        "cost/mean": 2.0 - step / 1000,
        **entropies,
    }


@pytest.fixture
def run(tmp_path):
    """A finished search whose weight steps and controller updates fill different rows."""
    weights = [{"step": step, "train/loss": 1.0} for step in range(0, 1000, 20)]
    write_rows(tmp_path / "metrics.csv", weights + [update_row(step) for step in STEPS])
    samples = [{"step": step, "accuracy": 0.5, "cost": 1.5, "reward": 0.4} for step in STEPS]
    write_rows(tmp_path / "samples.csv", samples)
    points = [
        {
            "cost": cost,
            "accuracy": accuracy,
            "arch": [0] * 42,
            "chosen": ["p40"] if cost == 1.1 else [],
        }
        for cost, accuracy in ((1.4, 0.95), (0.7, 0.8), (1.1, 0.9))
    ]
    front = {"targets": {"p40": 1.2}, "unit": "ms", "points": points}
    (tmp_path / "pareto.json").write_text(json.dumps(front))
    arch = SPACE.sample(random.Random(0))
    found = ArchFile(SPACE, arch, 1.1, "ms", "9f2c", "device", 0.9, 0.9, 1.2, 0, 1000)
    write_arch(tmp_path / "arch.json", found)
    return tmp_path


def test_a_run_is_drawn_into_five_pictures(run):
    paths = draw_run(run)
    names = ["loss.png", "progress.png", "entropy.png", "pareto.png", "network.png"]
    assert paths == [run / "figures" / name for name in names]
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (run / "figures").iterdir()) == sorted(names)


def test_a_run_is_drawn_again_to_the_same_bytes(run):
    first = [path.read_bytes() for path in draw_run(run)]
    assert [path.read_bytes() for path in draw_run(run)] == first


@pytest.mark.parametrize("name", ["metrics.csv", "samples.csv", "pareto.json", "arch.json"])
def test_a_missing_file_is_named_and_nothing_is_drawn(run, name):
    (run / name).unlink()
    with pytest.raises(UserError, match=name):
        draw_run(run)
    assert not (run / "figures").exists()


def test_columns_are_read_with_empty_cells_as_nan(run):
    columns = read_columns(run / "metrics.csv", ("step", "reward/mean"), WAY_OUT)
    assert np.isnan(columns["reward/mean"]).sum() == 50
    assert columns["step"][-1] == 980
    assert columns["reward/mean"][-1] == 0.99


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no values of step"),
        ("step,cost\n", "has no values of step"),
        ("step,accuracy\n1,2\n", "has no values of cost"),
        ("step,cost\n1,2\n2,fast\n", "line 3: cost is 'fast', not a number"),
    ],
)
def test_a_broken_csv_file_is_refused_by_name_and_line(tmp_path, text, message):
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_columns(path, ("step", "cost"), WAY_OUT)


def test_the_front_is_read_in_the_order_of_its_costs(run):
    front = read_front(run / "pareto.json")
    assert (front.targets, front.unit, front.chosen) == ({"p40": 1.2}, "ms", {"p40": 1})
    assert front.costs.tolist() == [0.7, 1.1, 1.4]
    assert front.accuracies.tolist() == [0.8, 0.9, 0.95]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"targets": {"a": 1}, "unit": "ms"}',
        '{"targets": {"a": 1}, "unit": "ms", "points": []}',
        '{"targets": {}, "unit": "ms", "points": [{"cost": 1, "accuracy": 1, "chosen": []}]}',
        '{"targets": [1], "unit": "ms", "points": [{"cost": 1, "accuracy": 1, "chosen": []}]}',
        '{"targets": {"a": 1}, "unit": "ms", "points": [{"cost": 1, "accuracy": 1, "chosen": []}]}',
        '{"targets": {"a": 1}, "unit": "s", "points": [{"cost": 1, "accuracy": 1, "chosen": "a"}]}',
    ],
)
def test_a_broken_front_is_refused_by_name(tmp_path, text):
    path = tmp_path / "pareto.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"pareto\.json"):
        read_front(path)


def test_smoothing_keeps_a_constant_and_averages_its_window():
    assert smooth(np.full(9, 3.0), 5).tolist() == [3.0] * 9
    assert smooth(np.array([0.0, 3.0, 6.0, 0.0]), 3).tolist() == [1.5, 3.0, 3.0, 3.0]
    assert smooth(np.array([1.0, 5.0]), 1).tolist() == [1.0, 5.0]


def metrics_of(run) -> dict[str, np.ndarray]:
    return read_columns(run / "metrics.csv", list(update_row(0)), WAY_OUT)


def test_progress_draws_each_update_and_marks_the_target(run):
    figure = draw_progress(metrics_of(run), {"p40": 1.2}, "ms")
    steps, rewards = figure.axes[0].lines[0].get_data()
    assert steps.tolist() == list(STEPS)
    assert rewards.tolist() == [update_row(step)["reward/mean"] for step in STEPS]
    assert figure.axes[2].lines[-1].get_ydata() == [1.2, 1.2]
    assert "target 1.2 ms" in texts(figure)


def test_the_loss_is_drawn_of_the_whole_search_beside_guessing(run):
    metrics = read_columns(run / "metrics.csv", ["step", "train/loss", "reward/mean"], "")
    axes = draw_loss(metrics, 10).axes[0]
    thin, thick, guessing, taking_over = axes.lines
    assert list(thin.get_xdata()) == list(thick.get_xdata()) == list(range(0, 1000, 20))
    assert set(thin.get_ydata()) == {1.0}
    assert set(guessing.get_ydata()) == {math.log(10)}
    assert taking_over.get_xdata()[0] == STEPS[0]


@pytest.mark.parametrize(("unit", "shown"), [("ms", 1.5), ("macs", 1.5e-6), ("params", 1.5e-6)])
def test_costs_are_shown_in_their_unit(run, unit, shown):
    front = replace(read_front(run / "pareto.json"), unit=unit)
    samples = read_columns(run / "samples.csv", ("step", "accuracy", "cost"), WAY_OUT)
    axes = draw_pareto(samples, front).axes[0]
    assert axes.collections[0].get_offsets()[0].tolist() == [shown, 0.5]
    assert axes.get_xlabel().endswith("(ms)" if unit == "ms" else "(M)")


def test_a_run_whose_controller_never_moved_says_so(run):
    weights = {**metrics_of(run), "reward/mean": np.full(80, np.nan)}
    with pytest.raises(UserError, match="no values of reward/mean"):
        draw_progress(weights, {"p40": 1.2}, "ms")


def test_entropy_is_drawn_relative_to_that_of_the_uniform_choice(run):
    figure = draw_entropy(metrics_of(run), SPACE)
    lines = figure.axes[0].lines
    assert len(lines) == len(DECISIONS)
    for line in lines:
        assert line.get_ydata() == pytest.approx(0.5)
    assert set(DECISIONS) <= set(texts(figure))


def test_the_names_at_the_ends_of_equal_entropies_do_not_touch(run):
    figure = draw_entropy(metrics_of(run), SPACE)
    figure.draw_without_rendering()
    names = [text for text in figure.axes[0].texts if text.get_text() in DECISIONS]
    boxes = sorted((text.get_window_extent() for text in names), key=lambda box: box.y0)
    for lower, upper in pairwise(boxes):
        assert lower.y1 <= upper.y0 + 1


def test_a_decision_with_one_choice_has_no_line(run):
    figure = draw_entropy(metrics_of(run), replace(SPACE, kernels=(3,)))
    assert "kernel" not in texts(figure)
    assert len(figure.axes[0].lines) == len(DECISIONS) - 1


def test_the_cloud_marks_front_target_and_chosen_network(run):
    front = read_front(run / "pareto.json")
    samples = read_columns(run / "samples.csv", ("step", "accuracy", "cost"), WAY_OUT)
    figure = draw_pareto(samples, front)
    axes = figure.axes[0]
    assert axes.collections[0].get_array().tolist() == list(STEPS)
    assert axes.lines[0].get_xdata().tolist() == [0.7, 1.1, 1.4]
    assert axes.collections[1].get_offsets().tolist() == [[1.1, 0.9]]
    assert {"target 1.2 ms", "chosen: 90.0% at 1.1 ms"} <= set(texts(figure))


def test_a_front_of_one_network_can_be_drawn(run):
    samples = read_columns(run / "samples.csv", ("step", "accuracy", "cost"), WAY_OUT)
    front = Front({"p40": 1.2}, "ms", np.array([1.0]), np.array([0.9]), {"p40": 0})
    assert "chosen: 90.0% at 1 ms" in texts(draw_pareto(samples, front))


@pytest.fixture
def run_of_two(run):
    """The same search with two targets, whose choices are the first and the last of the front."""
    front = json.loads((run / "pareto.json").read_text())
    front["targets"] = {"p20": 0.8, "0.5x_mnasnet_a1": 1.4}
    for point in front["points"]:
        point["chosen"] = {0.7: ["p20"], 1.4: ["0.5x_mnasnet_a1"]}.get(point["cost"], [])
    (run / "pareto.json").write_text(json.dumps(front))
    for name in front["targets"]:
        (run / f"arch-{name}.json").write_bytes((run / "arch.json").read_bytes())
    (run / "arch.json").unlink()
    return run


def test_several_targets_have_a_picture_of_each_network_and_share_the_others(run_of_two):
    names = {path.name for path in draw_run(run_of_two)}
    networks = {"network-p20.png", "network-0.5x_mnasnet_a1.png"}
    assert names == networks | {"loss.png", "progress.png", "entropy.png", "pareto.png"}


def test_the_cloud_marks_every_target_and_every_choice(run_of_two):
    front = read_front(run_of_two / "pareto.json")
    samples = read_columns(run_of_two / "samples.csv", ("step", "accuracy", "cost"), WAY_OUT)
    figure = draw_pareto(samples, front)
    axes = figure.axes[0]
    assert axes.collections[1].get_offsets().tolist() == [[0.7, 0.8], [1.4, 0.95]]
    drawn = {"p20", "0.5x_mnasnet_a1", "chosen for each target"}
    assert drawn <= set(texts(figure))
    assert [line.get_xdata()[0] for line in axes.lines[1:]] == [0.8, 1.4]
    progress = draw_progress(metrics_of(run_of_two), front.targets, "ms")
    assert {"p20", "0.5x_mnasnet_a1"} <= set(texts(progress))


def test_many_targets_have_lines_without_names(run):
    targets = {f"p{10 * number}": number / 10 for number in range(1, 8)}
    front = Front(targets, "ms", np.array([0.7]), np.array([0.9]), {"p70": 0})
    samples = read_columns(run / "samples.csv", ("step", "accuracy", "cost"), WAY_OUT)
    figure = draw_pareto(samples, front)
    lines = [line.get_xdata()[0] for line in figure.axes[0].lines]
    assert set(targets.values()) <= set(lines)
    assert not set(targets) & set(texts(figure))


def test_the_line_of_the_front_leaves_out_a_choice_that_others_beat(run):
    front = Front(
        {"p40": 1.2}, "ms", np.array([0.7, 1.1, 1.4]), np.array([0.9, 0.8, 0.95]), {"p40": 1}
    )
    samples = read_columns(run / "samples.csv", ("step", "accuracy", "cost"), WAY_OUT)
    axes = draw_pareto(samples, front).axes[0]
    assert axes.lines[0].get_xdata().tolist() == [0.7, 1.4]
    assert axes.collections[1].get_offsets().tolist() == [[1.1, 0.8]]


@pytest.fixture
def tuned_run(run):
    """The same search, but by tunings, with 400 weight steps before the first of them."""
    rows = [{**update_row(step), "surrogate/value": step / 100} for step in STEPS]
    weights = [{"step": step, "train/loss": 1.0} for step in range(0, 400, 20)]
    write_rows(run / "metrics.csv", weights + rows)
    (run / "surrogate.json").write_text(json.dumps({**content(), "shared_steps": 400}))
    return run


def test_updates_after_the_last_weight_step_are_counted_and_not_weight_steps(tuned_run):
    known = read_known(tuned_run / "surrogate.json")
    names = [*update_row(0), "surrogate/value"]
    metrics = read_columns(tuned_run / "metrics.csv", names, WAY_OUT)
    progress = draw_progress(metrics, {"p40": 1.2}, "ms", known)
    entropy = draw_entropy(metrics, SPACE, known)
    for figure in (progress, entropy):
        assert figure.axes[0].lines[0].get_xdata()[0] == 1
        assert "updates of the controller, after 400 weight steps" in texts(figure)
        assert "weight steps" not in texts(figure)
    assert progress.axes[1].lines[0].get_ydata()[0] == 4
    assert "Surrogate of the sampled networks (sd)" in texts(progress)


def test_a_search_without_shared_weights_has_no_loss_to_draw(tuned_run):
    rows = [{**update_row(step - 400), "surrogate/value": 1.0} for step in STEPS]
    write_rows(tuned_run / "metrics.csv", rows)
    (tuned_run / "surrogate.json").write_text(json.dumps(content()))
    names = {path.name for path in draw_run(tuned_run)}
    assert names == {"progress.png", "entropy.png", "pareto.png", "surrogate.png", "network.png"}


def test_a_search_whose_slices_are_scored_must_have_a_loss(run):
    write_rows(run / "metrics.csv", [update_row(step) for step in STEPS])
    with pytest.raises(UserError, match="no values of train/loss"):
        draw_run(run)


def test_the_front_of_a_search_by_tunings_shows_labels_and_finalists(tuned_run):
    known = read_known(tuned_run / "surrogate.json")
    samples = read_columns(tuned_run / "samples.csv", ("step", "accuracy", "cost"), WAY_OUT)
    axes = draw_pareto(samples, read_front(tuned_run / "pareto.json"), known).axes[0]
    uniform, proposed, finalists, chosen = axes.collections
    assert [len(one.get_offsets()) for one in (uniform, proposed)] == [36, 12]
    assert finalists.get_offsets()[0].tolist() == [1.0, 0.35]
    assert len(chosen.get_offsets()) == 1
    assert {"uniform, 10 steps", "proposed, 10 steps"} <= set(texts(axes.figure))
