"""Random changes to every kind of file: one line or a meaning, never a traceback or a hang.

Changes follow from a seed. A reader must either return, with what it gives being usable, or raise a
UserError of one line, within ten seconds. 200 changes in all run always, 2,000 with the slow tests.
"""

import io
import json
import random
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from retrain.__main__ import main as retrain
from retrain.summary import summarise
from search.__main__ import main as search
from search.compare.benchmark import read_search
from search.front import read_front
from search.monitoring.compute import Spent
from supernet.arch_file import read_arch, write_arch
from supernet.command.process import run_command
from supernet.cost.counts import count
from supernet.data import ImageFolder
from supernet.data.images.image_reading import ImageReader
from supernet.display.tables import network_table, spaces_table
from supernet.errors import UserError
from supernet.files.csv_table import CsvRows, read_columns
from supernet.latency.devices.backends import Backend
from supernet.latency.table.plan import middle_network
from supernet.latency.table.rounds import Rounds
from supernet.latency.table.table import LatencyTable
from supernet.network.supernet import SuperNet, load_supernet
from supernet.report.predictions import Prediction, read_predictions
from supernet.run.folder import check_checkpoint
from supernet.space.mnasnet import MnasSpace, read_space
from supernet.space.published import published
from supernet.space.spec import NetSpec
from supernet.training.config import read_training
from tests.helpers.mutations import (
    mutated_bytes,
    mutated_json,
    mutated_tree,
    mutated_yaml,
    mutations,
)
from tests.helpers.synthetic_device import TINY, build

ROOT = Path(__file__).parents[2]
OLD = ROOT / "tests" / "samples" / "fa87f1f"
SMALL = MnasSpace(width=0.1, base_layers=(1,) * 7, layers=(0, 1), head=32, resolution=8, classes=2)
LIMIT_S = 10
LONGEST_LINE = 2000


class HangError(BaseException):
    """A reader took too long; no reader catches it."""


# --- originals ------------------------------------------------------------------------------------


def arch_json(folder):
    write_arch(folder / "arch.json", read_arch(OLD / "table" / "arch.json"))
    return (folder / "arch.json").read_bytes()


def table_json(folder):
    build(folder)
    return next(folder.glob("*.json")).read_bytes()


def table_without_checksum(folder):
    fields = json.loads(table_json(folder))
    del fields["checksum"]
    return json.dumps(fields).encode()


def raw_times(folder):
    build(folder)
    return b"".join(next(folder.glob("*.jsonl")).read_bytes().splitlines(keepends=True)[:20])


def config(name):
    return lambda _: (ROOT / "configs" / name).read_bytes()


def old(name):
    return lambda _: (OLD / name).read_bytes()


def csv_text(_):
    rows = [f"{step},{1 / (step + 1)},{'' if step % 5 else step / 40}" for step in range(40)]
    return "\n".join(["step,loss,accuracy", *rows, ""]).encode()


def predictions_csv(_):
    rows = [f'{n},"a, {n}.jpg",{n % 3},{n % 2},0.{n + 1},{n / 7}' for n in range(20)]
    return "\n".join([",".join(Prediction._fields), *rows, ""]).encode()


def block_strings(_):
    return "\n".join(published["mnasnet_a1"].block_strings()).encode()


def checkpoint(_):
    weights = {f"supernet.{name}": value for name, value in SuperNet(SMALL).state_dict().items()}
    space = {name: list(v) if isinstance(v, tuple) else v for name, v in vars(SMALL).items()}
    content = {
        "state_dict": weights,
        "search": {"space": {k: v for k, v in space.items() if k != "base"}, "seed": 0},
        "optimizer_states": [],
        "loops": {},
        "pytorch-lightning_version": "2.6.6",
    }
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def image(form):
    def encoded(_):
        pixels = np.random.default_rng(0).integers(0, 255, (18, 24, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, form)
        return stream.getvalue()

    return encoded


def exported(_):
    fields = {"spec": json.loads(published["mnasnet_small"].to_json())}
    return json.dumps(
        {**fields, "formats": {"onnx": {"file": "a.onnx", "latency_ms": 1.0}}}
    ).encode()


# --- readers --------------------------------------------------------------------------------------


def use_arch(path):
    found = read_arch(path)
    network_table(found.spec)
    assert 0 <= found.accuracy <= 1
    assert 0 < found.predicted <= found.target


def use_table(path):
    table = LatencyTable.read(path)
    assert 0 < table.predict(middle_network(TINY)) < 1e9
    table.check_covers(TINY)
    assert table.hash
    assert table.space
    assert table.error
    Backend.of_table(table.settings, {})


def use_space(path):
    space = read_space(path)
    arch = space.canonical(space.sample(random.Random(0)))
    assert count(space.spec(arch).checked()).macs > 0
    spaces_table([str(path)])


def use_rounds(path):
    plan = json.loads(raw_plan(path))
    Rounds(path, plan).__exit__()


def raw_plan(path):
    """What a build asks of its raw times: the plan of the first line, if it can be read."""
    try:
        plan = json.loads(path.read_bytes().splitlines()[0])["plan"]
        return json.dumps(plan if isinstance(plan, dict) else {})
    except (ValueError, KeyError, IndexError, TypeError):
        return "{}"


def use_block_strings(path):
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    assert count(NetSpec.from_block_strings(lines)).macs > 0


def use_front(path):
    front = read_front(path)
    assert front.costs.min() > 0
    assert 0 <= front.accuracies.min() <= front.accuracies.max() <= 1


def use_spent(path):
    assert Spent.read(path).plus_scoring(1.0, 1.0).image_macs > 0


def use_rows(path):
    rows = CsvRows(path)
    rows.cut(20)
    rows.append(21, {"loss": 1.0, "new": 2.0})
    assert CsvRows(path).rows[-1]["loss"] == "1.0"


def use_checkpoint(path):
    check_checkpoint(path)
    load_supernet(path)


def use_image(path):
    assert ImageReader().read(str(path)).mode == "RGB"
    assert ImageReader().num_frames(str(path)) in (1, 2)


def use_report(name):
    def read(path):
        run = path.parent / "run"
        run.mkdir(exist_ok=True)
        settings = (OLD / "retrain" / "config.yaml").read_text().splitlines()
        arch = f"  arch: {OLD / 'macs' / 'arch.json'}"
        lines = [arch if line.startswith("  arch:") else line for line in settings]
        (run / "config.yaml").write_text("\n".join(lines))
        (run / name).write_bytes(path.read_bytes())
        summarise(run)

    return read


def use_command(main, *more):
    """The settings of a whole command, which ends before its first step for another reason."""

    def read(path):
        sys.argv = ["run", "fit", "-c", str(path), "--run", str(path.parent / "run"), *more]
        try:
            run_command(main)
        except SystemExit as leaving:
            assert leaving.code == 2  # noqa: PT017 - what it says is checked by its caller

    return read


def use_folder(path):
    """A folder of images as a tree of names; what lies where is what was changed."""
    root = path.parent / "images"
    for name, content in json.loads(path.read_text()).items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.write_bytes(bytes.fromhex(content))
    data = ImageFolder(str(root), resolution=8, batch_size=2, num_workers=0)
    data.prepare_data()
    assert len(data.classes) >= 1
    assert sum(1 for _ in data.image_records()) >= 1


def folder_tree(_):
    png = image("PNG")(None).hex()
    names = [
        f"{part}/{name}/{n}.png" for part in ("train", "val") for name in ("a", "b") for n in "12"
    ]
    return json.dumps(dict.fromkeys(names, png)).encode()


READERS = {
    "arch.json": (arch_json, mutated_json, use_arch, 4),
    "old arch.json": (old("macs/arch.json"), mutated_json, use_arch, 4),
    "table.json": (table_json, mutated_json, use_table, 2),
    "old table.json": (table_without_checksum, mutated_json, use_table, 4),
    "raw.jsonl": (raw_times, mutated_bytes, use_rounds, 4),
    "space.yaml": (config("spaces/paper.yaml"), mutated_yaml, use_space, 4),
    "blocks.txt": (block_strings, mutated_bytes, use_block_strings, 4),
    "training.yaml": (config("digits/retrain.yaml"), mutated_yaml, read_training, 4),
    "search.yaml": (config("digits/search.yaml"), mutated_yaml, read_search, 4),
    "pareto.json": (old("three/pareto.json"), mutated_json, use_front, 4),
    "cost.json": (old("macs/cost.json"), mutated_json, use_spent, 4),
    "metrics.csv": (csv_text, mutated_bytes, use_rows, 4),
    "columns.csv": (
        csv_text,
        mutated_bytes,
        lambda path: read_columns(path, ["step", "loss"], "name a run"),
        4,
    ),
    "predictions.csv": (predictions_csv, mutated_bytes, read_predictions, 4),
    "last.ckpt": (checkpoint, mutated_bytes, use_checkpoint, 2),
    "test.json": (old("retrain/test.json"), mutated_json, use_report("test.json"), 2),
    "export.json": (exported, mutated_json, use_report("export.json"), 2),
    "folder": (folder_tree, mutated_tree, use_folder, 2),
    **{
        f"image.{suffix}": (image(form), mutated_bytes, use_image, 2)
        for form, suffix in {
            "PNG": "png",
            "JPEG": "jpg",
            "GIF": "gif",
            "TIFF": "tif",
            "WEBP": "webp",
            "BMP": "bmp",
        }.items()
    },
    "retrain.yaml": (
        config("digits/retrain.yaml"),
        mutated_yaml,
        use_command(retrain, "--model.arch=none.json", "--wandb.mode=disabled"),
        1,
    ),
    "fit.yaml": (
        lambda _: (ROOT / "tests" / "samples" / "tiny.yaml").read_bytes(),
        mutated_yaml,
        use_command(search, "--trainer.max_steps=4"),
        1,
    ),
}
"""By kind of file: its original, how it is changed, what reads it, and its share of the changes."""


def hang(*_):
    raise HangError


def outcome(read, path, capsys):
    """Whether a reader took a file; the line with which it was refused is checked."""
    signal.signal(signal.SIGALRM, hang)
    signal.alarm(LIMIT_S)
    try:
        read(path)
        line = capsys.readouterr().err.removeprefix("error: ").rstrip("\n") or None
    except UserError as error:
        line = str(error)
    finally:
        signal.alarm(0)
    if line is None:
        return "taken"
    lines = [one for one in line.split("\n") if not one.startswith(("note: ", "warning: "))]
    assert len(lines) == 1
    assert 0 < len(line) < LONGEST_LINE
    assert not any(ord(letter) < 32 for letter in lines[0])
    return "refused"


def check_reader(kind, number, seed, folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run"])
    original, mutate, read, _ = READERS[kind]
    begin = folder / "original"
    begin.mkdir()
    found = []
    for n, content in mutations(original(begin), mutate, number, f"{kind} {seed}"):
        place = folder / str(n)
        place.mkdir()
        path = place / kind.replace(" ", "-")
        path.write_bytes(content)
        try:
            found.append(outcome(read, path, capsys))
        except BaseException as error:
            error.add_note(f"{kind}, change {n} of seed {seed}: {path}")
            raise
    assert "refused" in found or number < 20, "no change is noticed"


@pytest.mark.parametrize("kind", READERS)
def test_a_changed_file_is_refused_in_one_line_or_has_a_meaning(
    kind, tmp_path, capsys, monkeypatch
):
    number = 3 * READERS[kind][3]
    check_reader(kind, number, 0, tmp_path, capsys, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("kind", READERS)
def test_many_changed_files_are_refused_or_have_a_meaning(kind, tmp_path, capsys, monkeypatch):
    number = 28 * READERS[kind][3]
    check_reader(kind, number, 1, tmp_path, capsys, monkeypatch)


def test_as_many_changes_are_tried_as_are_told():
    shares = sum(share for *_, share in READERS.values())
    assert 3 * shares >= 200
    assert 28 * shares >= 2000
