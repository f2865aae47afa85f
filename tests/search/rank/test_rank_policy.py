"""Networks that a search's controller proposes, in search.rank."""

import dataclasses
import json
from typing import get_args

import numpy as np
import pytest
import torch

from search.controllers.evolution import Evolution
from search.controllers.settings import ControllerSettings, Kind
from search.rank.networks import load_controller, policy_group
from search.rank.ranking import main
from search.rank.report import ridge_sizes, supernet_costs
from search.rank.scores import ridge_scores_of_others
from supernet.errors import UserError
from supernet.network.supernet import SuperNet
from tests.helpers.tiny import MACS, SPACE, TRAINING
from tests.helpers.toys import PricedToy, Toy, train


def trained(kind):
    torch.manual_seed(0)
    settings = ControllerSettings(kind, evolution=Evolution(population=20))
    controller = settings.build(SPACE.decision_sizes, samples=8, keep=5)
    list(train(controller, Toy.draw(SPACE.decision_sizes, 0, 0.5), 0, 3, samples=8))
    return controller


def save(path, controller, kind, **more):
    state = {f"supernet.{name}": value for name, value in SuperNet(SPACE).state_dict().items()}
    state |= {f"controller.{name}": value for name, value in controller.state_dict().items()}
    targets = [float(number) for number in range(1, 1 + controller.num_targets)]
    search = {"space": dataclasses.asdict(SPACE), "seed": 0, "controller": kind}
    search["target"] = targets if len(targets) > 1 else targets[0]
    torch.save({"search": search, "state_dict": state, **more}, path)
    return path


def trained_for_three(kind):
    torch.manual_seed(0)
    settings = ControllerSettings(kind, evolution=Evolution(population=20))
    controller = settings.build(SPACE.decision_sizes, samples=8, keep=5, targets=3)
    PricedToy.draw(SPACE.decision_sizes, 0).learn(controller, (0.7, 1.0, 1.3), 3, 8)
    return controller


@pytest.mark.parametrize("train_kind", [trained, trained_for_three])
@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_saved_controller_of_any_kind_proposes_what_it_would_have(kind, train_kind, tmp_path):
    controller = train_kind(kind)
    path = save(tmp_path / "last.ckpt", controller, kind)
    loaded = load_controller(path, SPACE)
    ours, theirs = (
        one.propose(9, torch.Generator().manual_seed(3)) for one in (controller, loaded)
    )
    assert torch.equal(ours.indices, theirs.indices)
    assert torch.equal(ours.targets, theirs.targets)


def test_a_checkpoint_without_a_controller_is_refused(tmp_path):
    torch.save({"search": {"controller": "ppo"}, "state_dict": {}}, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"a\.ckpt holds no controller of this version"):
        load_controller(tmp_path / "a.ckpt", SPACE)


def test_the_networks_differ_are_the_policys_and_the_first_stay():
    controller = trained("tunas")
    with torch.no_grad():
        controller.policy.logits.zero_()
        controller.policy.logits[..., 0, 2] = 50.0  # the first block's op
    few, many = (policy_group(controller, SPACE, MACS, num, seed=1) for num in (5, 30))
    assert many.networks[:5] == few.networks
    archs = [one.arch for one in many.networks]
    assert len(set(archs)) == 30
    assert {arch.blocks[0].op for arch in archs} == {SPACE.ops[2]}
    assert len({arch.blocks[1].op for arch in archs}) == 4
    assert all(SPACE.canonical(arch) == arch for arch in archs)
    costs = [one.cost for one in many.networks]
    assert many.edges == [min(costs), max(costs)]
    assert costs[0] == MACS.predict(many.networks[0].spec)
    other = policy_group(controller, SPACE, MACS, 5, seed=2)
    assert other.networks != few.networks


def test_a_collapsed_policy_is_named():
    controller = trained("tunas")
    with torch.no_grad():
        controller.policy.logits.zero_()
        controller.policy.logits[..., 0] = 50.0
    with pytest.raises(
        UserError, match="--policy is 4, but the controller proposes only 1 networks"
    ):
        policy_group(controller, SPACE, MACS, 4, seed=0)


def test_a_ridge_on_some_networks_predicts_others():
    rng = np.random.default_rng(0)
    inputs, weights = rng.normal(size=(60, 4)), [1, -2, 0, 3]
    runs = (inputs @ weights)[:, None] + 0.1 * rng.normal(size=(60, 3))
    scores = ridge_scores_of_others(inputs[:40], runs[:40], inputs[40:], repeats=5)
    assert scores.shape == (5, 20)
    assert len({tuple(row) for row in scores.tolist()}) == 5
    assert all(np.corrcoef(row, runs[40:].mean(1))[0, 1] > 0.98 for row in scores)


def test_a_supernets_cost_is_told_in_trainings_and_gives_a_ridge_of_its_size():
    costs = {"supernet 1": 4e12, "supernet 2": 6e12, "supernet 3": None}
    assert ridge_sizes([10, 30], costs, 1e12) == [10, 30, 5]
    assert ridge_sizes([10, 5], costs, 1e12) == [10, 5]
    assert ridge_sizes([10], {"supernet": None}, 1e12) == [10]
    assert ridge_sizes([], {"supernet": 1e11}, 1e12) == [3]
    assert supernet_costs(costs, 1e12) == [
        "supernet 1: 4e+12 images x MACs, as much as 4.0 trainings",
        "supernet 2: 6e+12 images x MACs, as much as 6.0 trainings",
        "supernet 3: its checkpoint does not say what the search cost",
    ]


@pytest.mark.slow
def test_a_policys_networks_are_trained_scored_and_reported_apart(tmp_path, capsys):
    (tmp_path / "retrain.yaml").write_text(TRAINING.replace("STEPS", "4"))
    health = {"Health": {"image_macs": 10**9}}
    checkpoint = save(tmp_path / "last.ckpt", trained("ppo"), "ppo", callbacks=health)
    words = [
        "-c",
        tmp_path / "retrain.yaml",
        "--cost",
        "macs",
        "--cache",
        tmp_path / "cache.jsonl",
        "--run",
        tmp_path / "run",
        "--networks",
        4,
        "--bands",
        2,
        "--seeds",
        2,
        "--ridge",
        "--short",
        0.5,
        "--supernet",
        checkpoint,
        "--policy",
        5,
        "--tuning",
        2,
    ]
    main([str(word) for word in words])
    out = capsys.readouterr().out
    assert "\n9 networks, 18 trainings of 4 steps" in out
    rows = [json.loads(line) for line in (tmp_path / "cache.jsonl").read_text().splitlines()]
    assert len(rows) == 9 * 2 + 9
    random = [row["image_macs"] for row in rows if row["steps"] == 4][:4]
    assert f"as much as {10**9 / np.mean(random):.1f} trainings" in out
    report = json.loads((tmp_path / "run" / "rank.json").read_text())
    names = {
        "Kendall's tau",
        "what it is good for",
        "tau by macs",
        "supernet, less",
        "supernet, by loss, less",
        "supernet, tuned for 2, less",
    }
    apart = {f"{name}, policy of supernet" for name in names}
    assert set(report["tables"]) == names | apart
    for title in ("Kendall's tau", "Kendall's tau, policy of supernet"):
        table = report["tables"][title]
        assert {
            "one training (noise ceiling)",
            "supernet",
            "MACs",
            "synflow",
            "training of 50% length",
        } < set(table)
    assert "ridge on 4 trainings" in report["tables"]["Kendall's tau, policy of supernet"]
    assert "policy of supernet: 5 networks, 2 training(s) each" in "\n".join(report["facts"])
    main([str(word) for word in words])
    assert len((tmp_path / "cache.jsonl").read_text().splitlines()) == len(rows)
