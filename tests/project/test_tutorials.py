"""The tutorials run as they stand, in a folder of their own, with as few steps as will do."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FEW = (
    " --model.cost macs --model.surrogate.networks 4 --model.surrogate.first 2"
    " --model.surrogate.rounds 2 --model.surrogate.updates 2 --model.final.samples 8"
    " --model.final.candidates 2 --model.final.measured 0"
)
SHORT = {
    "search": f"--trainer.max_steps 40{FEW}",
    "retrain": "--trainer.max_epochs 1",
    "plan": "--cost macs",
    "export": "--formats onnx",
    "compare": "--steps 2 --random 2 --trainings 2",
    "rank": "--steps 2 --networks 4 --bands 1 --ridge --tuning --short 0 --cost macs",
}
"""Options that are appended to a command; later ones count."""
LEFT_OUT = re.compile("mnasnet latency|tables/phone.json")
"""What times devices for minutes, or asks for a table of one that is not here."""


def blocks(page, language):
    """Blocks of a page in a language, each as one text."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def commands(page):
    """Commands of ``mnasnet`` that run here, in the order in which a reader types them."""
    lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [one for one in lines if one.startswith("mnasnet ") and not LEFT_OUT.search(one)]


def run(line, folder):
    """What a shortened command prints that ends well."""
    name, *words = shlex.split(line)[1:]
    words += shlex.split(SHORT.get(name, ""))
    program = [sys.executable, "-W", "ignore", "-m", "supernet.command.console"]
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "MNASNET_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [*program, name, *words],
        check=False,
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (line, done.stderr)
    return done.stdout


def make_photos(folder):
    """Three classes of 40 pictures that differ in their brightness, in a folder for each."""
    generator = np.random.default_rng(0)
    for name, grey in (("dark", 60), ("middle", 120), ("light", 180)):
        (folder / name).mkdir(parents=True)
        for number in range(40):
            pixels = generator.integers(grey - 40, grey + 40, (96, 96, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


@pytest.mark.slow  # trainings
def test_a_first_search_and_how_far_it_is_trusted(tmp_path):
    first, trust = (
        DOCS / "tutorials" / f"{name}.md" for name in ("first-search", "trust-a-search")
    )
    printed = {}
    for line in [*commands(first), *commands(trust)]:
        printed[line.split()[1]] = run(line, tmp_path)
    assert {"search", "show", "retrain", "test", "export", "summary", "compare", "rank"} <= set(
        printed
    )
    assert "test accuracy" in printed["summary"]
    for name in ("rank", "compare"):
        assert list(tmp_path.glob(f"runs/*/{name}.json")), name
    assert (tmp_path / "runs/digits/network.onnx").exists()


@pytest.mark.slow  # trainings
def test_photos_become_a_file_that_names_the_class_of_one(tmp_path):
    page = DOCS / "tutorials" / "photos-to-a-phone.md"
    make_photos(tmp_path / "photos")
    for line in commands(page):
        run(line, tmp_path)
    Image.new("RGB", (120, 90), (60, 60, 60)).save(tmp_path / "photo.jpg")
    (program,) = [block for block in blocks(page, "python") if "onnxruntime" in block]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[0] in ("dark", "middle", "light")


def test_the_datamodule_of_the_page_on_data_gives_its_images(tmp_path, monkeypatch):
    from supernet.data.run_data import RunData

    monkeypatch.chdir(tmp_path)
    (tmp_path / "arrays").mkdir()
    for name, number in (("train", 40), ("val", 12), ("test", 12)):
        labels = np.arange(number) % 3
        images = np.random.default_rng(0).random((number, 3, 16, 16), dtype=np.float32)
        np.savez(f"arrays/{name}.npz", images=images, labels=labels)
    named = {}
    (page,) = [one for one in blocks(DOCS / "data.md", "python") if "class MyData" in one]
    exec(page, named)
    config = yaml.safe_load(blocks(DOCS / "data.md", "yaml")[0])["data"]
    assert config["class_path"] == "my_data.MyData"
    own = named["MyData"](**config["init_args"])
    data = RunData(own, role="retrain", seed=0)
    assert (data.num_classes, data.resolution) == (3, 16)
    images, labels = next(iter(own.train_dataloader()))
    assert (images.shape, labels.max().item()) == ((32, 3, 16, 16), 2)
