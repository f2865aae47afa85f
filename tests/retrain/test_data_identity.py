"""Data of a run, its search and its test: compared by content, whatever was moved or renamed."""

import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from retrain.__main__ import main
from supernet.arch_file import write_arch
from supernet.command.process import run_command
from supernet.run.data_record import FOLDER, saved_data
from supernet.space.arch import Arch, BlockChoice
from tests.helpers.archs import counted_arch
from tests.helpers.tiny import SPACE, TRAINING

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
]
BLOCK = BlockChoice("mbconv3", 3, 0.25, "none", 1.0, 0)
KINDS = ("cat", "dog", "owl")


def fill(root, first=0, number=30, kinds=KINDS):
    """Images that all differ, of two sides each, in one folder for each class."""
    for label, kind in enumerate(kinds):
        (root / kind).mkdir(parents=True, exist_ok=True)
        for index in range(first, first + number):
            rng = np.random.default_rng([label, index])
            pixels = rng.integers(256, size=(10, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / kind / f"{index}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Images, and a run that was trained on some of them; copied for each test."""
    folder = tmp_path_factory.mktemp("trained")
    fill(folder / "images")
    run(folder, "fit")
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "work")
    return tmp_path / "work"


def run(folder, verb, *more, epochs=1):
    """Train or test in ``folder/run`` on ``folder/images``."""
    write_arch(folder / "arch.json", counted_arch(SPACE, Arch((BLOCK, BLOCK))))
    (folder / "retrain.yaml").write_text(
        TRAINING.replace("max_steps: STEPS, max_epochs: -1", f"max_epochs: {epochs}")
    )
    options = [verb, "-c", folder / "retrain.yaml", "--run", folder / "run", "--model.arch"]
    options += [folder / "arch.json", "--wandb.mode=disabled", "--trainer.accelerator=cpu"]
    if "--data" not in more:
        more = ("--data", "ImageFolder", "--data.root", folder / "images", *more)
        more += ("--data.num_workers", "0", "--data.resolution", "8", "--data.batch_size", "8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["retrain"])
        patch.setenv("MNASNET_CACHE", str(folder / "cache"))
        run_command(lambda: main(list(map(str, (*options, *more)))))


def refused(capsys, *args, **settings):
    capsys.readouterr()
    with pytest.raises(SystemExit) as leaving:
        run(*args, **settings)
    line = capsys.readouterr().err
    assert leaving.value.code == 2
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    return line


def test_every_run_keeps_a_record_that_its_checkpoints_name(folder, capsys):
    for name in ("best", "last"):
        saved = saved_data(folder / "run" / "checkpoints" / f"{name}.ckpt")
        assert (folder / "run" / FOLDER / f"{saved.digest}.json.gz").exists()
        assert saved.classes == KINDS
    run(folder, "test")
    line = refused(capsys, folder, "test", "--data.split_seed", 1)
    assert "test images were trained on" in line
    fill(folder / "images", kinds=("bird",))
    assert "the class 'bird', which it was not trained on" in refused(capsys, folder, "test")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("flip", 0.0, "flip is 0.0, but the run to continue has 0.5: continue it unchanged"),
        ("mean", "[0, 0, 0]", "mean is [0.0, 0.0, 0.0], but the run to continue has [0.485,"),
        ("white_16_bit", 4095, "white_16_bit is 4095, but the run to continue has None"),
    ],
)
def test_a_run_is_not_continued_with_images_that_are_read_otherwise(
    folder, capsys, option, value, words
):
    before = (folder / "run/config.yaml").read_bytes()
    line = refused(capsys, folder, "fit", "--ckpt_path", "last", f"--data.{option}", value)
    assert f"data.init_args.{words}" in line
    assert (folder / "run/config.yaml").read_bytes() == before


def test_a_run_goes_on_where_its_images_have_moved(folder):
    (folder / "images").rename(folder / "moved")
    moved = ("--data.root", folder / "moved", "--data.on_bad_image", "skip")
    run(folder, "fit", "--ckpt_path", "last", *moved, epochs=2)


def test_a_run_whose_images_grow_and_get_new_names_ends_with_the_same_weights(
    folder, tmp_path, capsys
):
    shutil.copytree(folder, tmp_path / "grown")
    run(folder, "fit", "--ckpt_path", "last", epochs=3)
    grown = tmp_path / "grown"
    fill(grown / "images", first=100, number=2)
    (grown / "images/cat/0.png").rename(grown / "images/cat/zz.png")
    capsys.readouterr()
    run(grown, "fit", "--ckpt_path", "last", epochs=3)
    assert "data: 1 renamed since the run began, which goes on with" in capsys.readouterr().out
    expected, found = (
        torch.load(one / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for one in (folder, grown)
    )
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    run(grown, "test")
