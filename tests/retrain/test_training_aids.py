"""What helps a retraining besides its recipe: augmented images, a teacher, early stopping."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import timm
import torch

from retrain.cli import run_callbacks
from retrain.module import RetrainModule
from retrain.recipe_module import StopEarly
from supernet.data.digits import ClutteredDigits, Difficulty, Digits
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.network.checkpoint import load_network
from supernet.run.callbacks import SeedEachStep
from supernet.run.checkpoints import LastCheckpoint
from supernet.training import soft_labels as kept
from supernet.training.augmentation import Augmentation
from supernet.training.recipe import Recipe
from supernet.training.teacher import TeacherSource
from tests.helpers.documented import undocumented
from tests.helpers.interrupted import Kill, assert_same_weights, weights
from tests.helpers.tiny import write_tiny_arch

QUICK = Recipe(optimizer="adamw", lr=0.04, eps=0, schedule="cosine", ema_decay=0.9, bn_momentum=0.1)
AIDED = dataclasses.replace(
    QUICK, augmentation=Augmentation("strong", rotation=10.0), class_weights="balanced"
)

STILL = dataclasses.replace(QUICK, lr=1e-9, bn_momentum=0.0)


@pytest.fixture
def arch(tmp_path):
    return write_tiny_arch(tmp_path / "arch.json")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MNASNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "answers"


def module_for(arch, recipe=QUICK, **settings):
    torch.manual_seed(0)
    return RetrainModule(arch, 10, resolution=8, stem_stride=1, recipe=recipe, **settings)


def digits():
    return RunData(Digits(resolution=8, batch_size=16), role="retrain", seed=0)


def fit(module, folder, *callbacks, max_epochs=1, checkpoint=None):
    last = LastCheckpoint(folder, interval_s=0.0)
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        max_epochs=max_epochs,
        limit_train_batches=3,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[*callbacks, SeedEachStep(0), *run_callbacks(folder), last],
    )
    trainer.fit(module, digits(), ckpt_path=checkpoint)
    return trainer


def write_teacher(path):
    """Weights of a small model of timm that know ten classes."""
    torch.manual_seed(1)
    torch.save(timm.create_model("mobilenetv3_small_050", num_classes=10).state_dict(), path)
    return f"mobilenetv3_small_050:{path}"


def test_a_killed_run_with_all_aids_continues_to_the_same_bits(arch, tmp_path, monkeypatch):
    teacher = write_teacher(tmp_path / "teacher.pth")
    monkeypatch.setattr(kept, "_asked", lambda *_: torch.randn(1259, 10))
    whole = module_for(arch, AIDED, teacher=teacher)
    fit(whole, tmp_path / "whole")
    first = module_for(arch, AIDED, teacher=teacher)
    with pytest.raises(RuntimeError, match="killed"):
        fit(first, tmp_path / "killed", Kill(2))
    second, last = (
        module_for(arch, AIDED, teacher=teacher),
        tmp_path / "killed/checkpoints/last.ckpt",
    )
    fit(second, tmp_path / "killed", checkpoint=last)
    assert_same_weights(weights(second), weights(whole))

    changed = dataclasses.replace(AIDED, augmentation=Augmentation("strong"))
    with pytest.raises(UserError, match=r"recipe\.augmentation\.rotation is its default, but the"):
        fit(module_for(arch, changed, teacher=teacher), tmp_path / "killed", checkpoint=last)
    with pytest.raises(UserError, match=r"model\.teacher is none, but the run to continue has mob"):
        fit(module_for(arch, AIDED), tmp_path / "killed", checkpoint=last)


def test_answers_are_a_retrainings_and_kept_by_images_and_teacher(arch, tmp_path, cache, capsys):
    fit(module_for(arch), tmp_path)
    named = str(tmp_path / "checkpoints" / "best.ckpt")
    answers = kept.soft_labels(TeacherSource(named), digits(), torch.device("cpu"))
    (file,) = cache.iterdir()
    images, labels = next(iter(digits().plain_training_images()))
    expected = load_network(Path(named))(images).detach()
    assert np.allclose(answers[:16], expected, atol=1e-2)
    assert labels.tolist() == digits().training_labels()[:16]
    share = (answers.argmax(1) == np.array(digits().training_labels())).mean()
    said = f"teacher {named}: right on {share:.1%} of 1,259 training images"
    assert said in capsys.readouterr().out

    class Unloaded(TeacherSource):
        def load(self, data):
            raise AssertionError("kept answers need no teacher")

    again = kept.soft_labels(Unloaded(named), digits(), torch.device("cpu"))
    assert np.array_equal(answers, again)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(AssertionError, match="no teacher"):
        kept.soft_labels(Unloaded(named), digits(), torch.device("cpu"))
    assert RetrainModule(arch, 10, 8, 1, teacher=named).learned_from == [arch, named]


def test_kept_answers_are_of_these_images_and_this_teacher(tmp_path):
    named = write_teacher(tmp_path / "teacher.pth")

    def path(data):
        return kept._cached(TeacherSource(named), RunData(data, "retrain", seed=0))

    first = path(Digits(resolution=8))
    assert path(Digits(resolution=8, batch_size=16)) == first
    assert path(Digits(resolution=10)) != first
    assert path(Digits(resolution=8, split_seed=1)) != first
    hard, easy = (Difficulty(noise=noise) for noise in (0.3, 0.0))
    cluttered = [ClutteredDigits(8, difficulty=one, train_copies=1) for one in (hard, easy)]
    assert path(cluttered[0]) != path(cluttered[1])
    torch.save(timm.create_model("mobilenetv3_small_050", num_classes=10).state_dict(), named[22:])
    assert path(Digits(resolution=8)) != first


def test_a_teacher_of_timm_sees_images_in_its_own_way(tmp_path):
    teacher = TeacherSource(write_teacher(tmp_path / "teacher.pth")).load(digits().description)
    told = digits().preprocessing
    grey = torch.full((2, 3, 8, 8), (0.5 - told.mean[0]) / told.std[0])
    own = timm.data.resolve_model_data_config(teacher.network)
    wanted = [(0.5 - mean) / std for mean, std in zip(own["mean"], own["std"], strict=True)]
    images = torch.tensor(wanted).view(1, 3, 1, 1).expand(2, 3, 224, 224)
    with torch.no_grad():
        assert torch.allclose(teacher.answer(grey, told), teacher.network(images), atol=1e-4)


def test_features_are_classified_by_what_has_not_seen_the_image(monkeypatch):
    """Labels drawn by lot are nothing to learn, though 60 features could tell all images apart."""
    rng = np.random.default_rng(0)
    data = digits()
    labels = rng.integers(10, size=200).tolist()
    monkeypatch.setattr(data, "training_labels", lambda: labels)
    features = torch.from_numpy(rng.normal(size=(200, 60))).float()
    lots = kept._classified(features, data)
    assert lots.shape == (200, 10)
    assert (lots.argmax(1) == torch.tensor(labels)).float().mean() < 0.25
    features[range(200), labels] += 9
    told = kept._classified(features, data)
    assert (told.argmax(1) == torch.tensor(labels)).float().mean() > 0.9


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("no_model", "there is no file no_model: give a model of timm"),
        ("resnet18:none.pth", "there is no file none.pth"),
    ],
)
def test_what_is_no_teacher_is_refused(named, words):
    with pytest.raises(UserError, match=rf"model\.teacher is {named}, but .*{words}"):
        TeacherSource(named)


def test_a_teacher_that_cannot_be_fetched_or_knows_other_classes_is_one_line(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ConnectionError("no\nroute")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", fail)
    told = digits().description
    assert TeacherSource("test_vit").identity.startswith("test_vit.")
    reason = r"^timm's weights test_vit cannot be fetched \(ConnectionError: no route\)"
    with pytest.raises(UserError, match=reason):
        TeacherSource("test_vit").load(told)
    file = tmp_path / "seven.pth"
    torch.save(timm.create_model("mobilenetv3_small_050", num_classes=7).state_dict(), file)
    named = f"mobilenetv3_small_050:{file}"
    with pytest.raises(UserError, match=r"cannot be loaded .*size mismatch"):
        TeacherSource(named).load(told)
    file.write_bytes(b"no weights")
    with pytest.raises(UserError, match=f"^{file} holds no weights .*: give a model of timm"):
        TeacherSource(named).load(told)


def test_a_mistake_of_the_program_is_no_teacher_that_cannot_be_loaded(tmp_path, monkeypatch):
    named = write_teacher(tmp_path / "teacher.pth")
    monkeypatch.setattr("supernet.training.teacher.Preprocessing", lambda side: side)
    with pytest.raises(TypeError, match="positional argument"):
        TeacherSource(named).load(digits().description)


def test_images_that_are_drawn_anew_have_no_kept_answers():
    fixed = ClutteredDigits(resolution=8, train_copies=1)
    plain = fixed.plain_train_dataloader().dataset
    own = fixed.train_dataloader().dataset
    assert torch.equal(plain[3][0], own[3][0])
    data = RunData(ClutteredDigits(resolution=8), "retrain", seed=0)
    with pytest.raises(UserError, match="train_copies is 0"):
        data.plain_training_images()


def test_training_ends_when_validations_get_no_better_and_stays_ended(arch, tmp_path, capsys):
    """What does not move: the first validation is the best."""
    trainer = fit(module_for(arch, STILL, patience=2), tmp_path, max_epochs=9)
    assert trainer.global_step == 3 * 3
    assert "stopped early, after 9 of 27 steps: val/accuracy has not risen for 2 validations" in (
        capsys.readouterr().out
    )
    last = tmp_path / "checkpoints" / "last.ckpt"
    again = fit(module_for(arch, STILL, patience=2), tmp_path, max_epochs=9, checkpoint=last)
    assert again.global_step == 9
    longer = fit(module_for(arch, STILL, patience=3), tmp_path, max_epochs=9, checkpoint=last)
    assert longer.global_step == 12


def test_a_killed_run_stops_early_at_the_same_step(arch, tmp_path):
    with pytest.raises(RuntimeError, match="killed"):
        fit(module_for(arch, STILL, patience=2), tmp_path, Kill(7), max_epochs=9)
    last = tmp_path / "checkpoints" / "last.ckpt"
    trainer = fit(module_for(arch, STILL, patience=2), tmp_path, max_epochs=9, checkpoint=last)
    assert trainer.global_step == 9
    (early,) = [one for one in trainer.callbacks if isinstance(one, StopEarly)]
    assert early.wait_count == 2


def test_a_threshold_leaves_what_is_sure(arch, tmp_path):
    """Half of the images, as it lies between those that are surer and those that are less."""
    module = module_for(arch)
    fit(module, tmp_path)
    best = tmp_path / "checkpoints" / "best.ckpt"
    batches = list(Digits(resolution=8).test_dataloader())
    with torch.no_grad():
        logits = torch.cat([load_network(best)(images) for images, _ in batches])
    labels = torch.cat([batch for _, batch in batches])
    sure = logits.softmax(1).amax(1)
    module.threshold = float(sure.sort().values[179:181].mean())
    quiet = {"logger": False, "enable_progress_bar": False}
    trainer = pl.Trainer(accelerator="cpu", callbacks=run_callbacks(tmp_path), **quiet)
    trainer.test(module, digits(), ckpt_path=best, verbose=False)
    report = json.loads((tmp_path / "test.json").read_text())
    assert undocumented(tmp_path / "test.json") == set()
    assert report["answered"] == pytest.approx(179 / 359)
    right = (logits.argmax(1) == labels)[sure >= module.threshold].float().mean()
    assert report["answered_accuracy"] == pytest.approx(float(right))


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"patience": -1}, "model.patience is -1"), ({"threshold": 1.0}, "model.threshold is 1.0")],
)
def test_numbers_out_of_range_are_refused(arch, settings, words):
    with pytest.raises(UserError, match=words):
        module_for(arch, **settings)
