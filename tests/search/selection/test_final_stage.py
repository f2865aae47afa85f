"""Where the end of a search runs, and on which images."""

import copy
import json
import random
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from search.loss import SearchLoss
from search.module import SearchModule
from search.selection.results import Results
from search.selection.selection import Candidate, judge
from search.settings import Final, Lengths, WeightOptimizer
from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from supernet.network.network import recalibrate
from supernet.network.supernet import SuperNet
from supernet.training.standalone import evaluate
from tests.helpers.tiny import SPACE


def recorded(monkeypatch, owner, name, calls):
    original = getattr(owner, name)

    def call(self, *args, **options):
        calls.append((name, *args))
        return original(self, *args, **options)

    monkeypatch.setattr(owner, name, call)


def test_the_last_choice_is_made_on_the_device_of_the_search(search, tiny_search, monkeypatch):
    calls = []
    for owner, name in ((SearchModule, "to"), (SearchModule, "cpu"), (Results, "_judge")):
        recorded(monkeypatch, owner, name, calls)
    search(*tiny_search, "--model.final.candidates", 1)
    names = [name for name, *_ in calls]
    end = names.index("_judge")
    assert names[end - 2 : end + 2] == ["cpu", "to", "_judge", "cpu"]
    assert calls[end - 1] == ("to", torch.device("cpu"))


def test_what_scores_sees_batches_as_training_does():
    class Doubling(Digits):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            return batch[0] * 2, batch[1]

    batch = torch.rand(2, 3, 8, 8), torch.tensor([0, 1])
    for data, factor in ((Digits(), 1), (Doubling(), 2)):
        module = SimpleNamespace(
            data=RunData(data, "search", seed=0), device="cpu", laid_out=lambda images: images
        )
        images, labels = SearchModule.moved(module, batch)
        assert torch.equal(images, factor * batch[0])
        assert torch.equal(labels, batch[1])


def test_the_final_judge_knows_the_validation_split_and_nothing_else(tmp_path):
    torch.manual_seed(0)
    data, supernet = RunData(Digits(8, batch_size=32), "search", seed=0), SuperNet(SPACE)
    module = SimpleNamespace(
        final=Final(recalibration_images=64),
        lengths=Lengths(0, 0),
        seed=0,
        shared_steps=5,
        global_rank=0,
        trainer=SimpleNamespace(
            world_size=1,
            is_global_zero=False,
            precision="32-true",
            precision_plugin=SimpleNamespace(forward_context=nullcontext),
        ),
        space=SPACE,
        data=data,
        steps_done=5,
        weights=WeightOptimizer(),
        loss=SearchLoss(),
        supernet=supernet,
        memory_format=torch.contiguous_format,
        moved=lambda batch: batch,
    )
    archs = [SPACE.canonical(SPACE.sample(random.Random(seed))) for seed in range(3)]
    listed = [Candidate(SPACE.encode(arch), 1.0, 0.0, 0.0) for arch in archs]
    judged = judge(module, listed, tmp_path)
    for arch, one in zip(archs, judged, strict=True):
        network = copy.deepcopy(supernet).extract(arch)
        recalibrate(network, (images for images, _ in data.weights_batches(64)))
        expected = evaluate(network, Digits(8, batch_size=179).val_dataloader())
        assert one.accuracy == pytest.approx(expected.accuracy, abs=1e-9)
        assert one.score == pytest.approx(expected.probability, rel=1e-4)
        others = evaluate(network, Digits(8, batch_size=179).reward_dataloader())
        assert one.score != pytest.approx(others.probability, rel=1e-3)


def test_a_search_tunes_its_finalists_and_judges_anew_when_told_otherwise(
    search, finished_search, tmp_path, capsys
):
    judged = tmp_path / "run" / "judged-rank0.jsonl"
    judged.unlink()
    again = [*finished_search, "--ckpt_path", "last", "--model.final.tuning_steps"]
    search(*again, 3)
    rows = [json.loads(line) for line in judged.read_text().splitlines()]
    assert {row["tuning"] for row in rows} == {3}
    assert "images, tuned for 3 steps: " in capsys.readouterr().out
    search(*again, 0)
    more = [json.loads(line) for line in judged.read_text().splitlines()][len(rows) :]
    assert {row["tuning"] for row in more} == {0}
    assert "on validation images: " in capsys.readouterr().out
    tuned = {tuple(row["code"]): row["loss"] for row in rows}
    search(*again, 0, "--model.weights.lr", 1e-4)
    assert len(judged.read_text().splitlines()) == len(rows) + 2 * len(more)
    alike = [row for row in more if tuple(row["code"]) in tuned]
    assert alike
    assert any(row["loss"] != tuned[tuple(row["code"])] for row in alike)


@pytest.mark.slow
def test_a_final_stage_goes_on_beside_lines_of_another_version(search, tiny_search, tmp_path):
    judged = tmp_path / "run" / "judged-rank0.jsonl"
    search(*tiny_search)
    rows = judged.read_text()
    judged.write_text('{"step": 1, "code": [0]}\n' + rows.rstrip("\n"))
    search(*tiny_search, "--ckpt_path", "last")
    assert judged.read_text().splitlines()[1:] == rows.splitlines()
