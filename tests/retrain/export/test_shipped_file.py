"""A shipped ONNX file used alone, as the README does: no torch, no training data, no package."""

import ast
import json
import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image, ImageOps

from retrain.__main__ import main as retrain
from retrain.export.export import main as export
from supernet.arch_file import write_arch
from supernet.data.image_folder import ImageFolder
from supernet.space.arch import Arch, BlockChoice
from tests.helpers.archs import counted_arch
from tests.helpers.tiny import SPACE

ROOT = Path(__file__).parents[3]
(SCRIPT,) = [
    block
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    if "InferenceSession" in block
]
CLASSES = ("ant", "bee", "cat")
CONFIG = """
threads: 1
model:
  recipe: {optimizer: adamw, lr: 0.3, eps: 0, schedule: cosine, ema_decay: 0, bn_momentum: 0.2}
data:
  class_path: ImageFolder
  init_args: {resolution: 21, batch_size: 16, num_workers: 0}
trainer: {max_epochs: 7, accelerator: cpu, devices: 1, log_every_n_steps: 4}
wandb: {mode: disabled}
"""


def draw(rng, label):
    """A photo of one of three patterns under noise that hides some: RGB, of any shape."""
    width, height = rng.integers(24, 60, 2)
    y, x = np.mgrid[:height, :width] / 4
    pattern = (np.sin(x), np.sin(y), np.sin(x) * np.sin(y))[label]
    grey = 128 + 40 * pattern + rng.normal(0, 50, (height, width))
    tint = rng.uniform(0.6, 1, 3)
    return Image.fromarray((grey.clip(0, 255)[..., None] * tint).astype(np.uint8))


def save(photo, path, kind):
    """A JPEG as it stands, on its side by EXIF, grey, or in a printer's four colours."""
    exif = Image.Exif()
    if kind == 1:
        exif[0x0112] = 6
        photo = photo.transpose(Image.Transpose.ROTATE_90)
    modes = {2: "L", 3: "CMYK"}
    photo.convert(modes.get(kind, "RGB")).save(path, exif=exif, quality=90)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A run that was trained and tested on JPEGs, and exported after they had gone."""
    folder = tmp_path_factory.mktemp("shipped")
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(60):
            save(draw(rng, label), folder / "images" / name / f"{number}.jpg", number % 4)
    block = BlockChoice("mbconv3", 3, 0.25, "pool", 1.0, 0)
    write_arch(folder / "arch.json", counted_arch(SPACE, Arch((block, block))))
    (folder / "config.yaml").write_text(CONFIG)
    for command in ("fit", "test"):
        options = {
            "-c": folder / "config.yaml",
            "--run": folder / "run",
            "--model.arch": folder / "arch.json",
            "--data.root": folder / "images",
        }
        with pytest.MonkeyPatch.context() as patch:
            words = [str(word) for option in options.items() for word in option]
            patch.setattr(sys, "argv", ["retrain", command, *words])
            retrain()
    (folder / "images").rename(folder / "elsewhere")
    export(["--run", str(folder / "run"), "--formats", "onnx"])
    return folder


def script(file):
    """What README's program defines, of this file."""
    names = {}
    code = SCRIPT.replace("runs/digits/network.onnx", str(file)).rpartition("print(")[0]
    exec(code, names)
    return names


def test_the_accuracy_of_the_readme_program_is_that_of_test_json(shipped):
    told = json.loads((shipped / "run" / "test.json").read_text())
    data = ImageFolder(str(shipped / "elsewhere"), resolution=21, num_workers=0)
    files = data.test_dataloader().dataset.files
    names = script(shipped / "run" / "network.onnx")
    found = [names["classify"](path) == CLASSES[label] for path, label in files]
    assert len(found) == told["images"] > 20
    assert sum(found) == round(told["accuracy"] * told["images"])
    assert 0.4 < np.mean(found) < 1, "the images tell nothing"


def test_the_program_needs_numpy_pillow_and_onnxruntime_alone(shipped):
    imported = {
        name
        for node in ast.walk(ast.parse(SCRIPT))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [])
        + [one.name for one in node.names if isinstance(node, ast.Import)]
    }
    assert imported == {"json", "numpy", "onnxruntime", "PIL"}


def test_the_file_says_what_was_trained_on(shipped):
    session = onnxruntime.InferenceSession(shipped / "run" / "network.onnx")
    texts = session.get_modelmeta().custom_metadata_map
    told = {name: json.loads(text) for name, text in texts.items()}
    report = json.loads((shipped / "run" / "export.json").read_text())
    assert report["metadata"] == told
    assert report["checked_on"] == "generated"
    assert told["classes"] == list(CLASSES)
    assert (told["resize"], told["crop"], told["interpolation"]) == (24, 21, "bicubic")
    assert told["mean"] == [0.485, 0.456, 0.406]
    assert told["background"] == [255, 255, 255]
    assert told["accuracy"]["split"] == "test"
    assert told["accuracy"]["images"] > 20
    assert told["data_digest"]
    assert told["trained_with"]["torch"] == told["exported_with"]["torch"]
    (images,) = session.get_inputs()
    assert images.shape == ["batch", 3, 21, 21]
    assert session.get_outputs()[0].shape == ["batch", 3]


def test_transparency_lies_on_the_background(shipped, tmp_path):
    photo = draw(np.random.default_rng(1), 0)
    alpha = Image.new("L", photo.size, 255)
    alpha.paste(0, (0, 0, *(side // 2 for side in photo.size)))
    photo.putalpha(alpha)
    photo.save(tmp_path / "icon.png")
    ground = Image.new("RGBA", photo.size, (255, 255, 255, 255))
    Image.alpha_composite(ground, photo).convert("RGB").save(tmp_path / "flat.png")
    classify = script(shipped / "run" / "network.onnx")["classify"]
    assert ImageOps.exif_transpose(photo).mode == "RGBA"
    assert classify(tmp_path / "icon.png") == classify(tmp_path / "flat.png")
