"""A toy comparison, which tests of ``search.compare`` share."""

import json

from search.compare.comparison import main
from supernet.arch_file import ArchFile, write_arch
from tests.helpers.tiny import MACS, SHORT_TRAINING, SPACE, save_supernet

SEARCH = """
model:
  cost: macs
  target: p40
  sampling: {score: soft_accuracy, samples: 4, images: 32}
  final: {samples: 8, recalibration_images: 32}
"""
SECONDS = {"seconds": 9.0, "cpu_seconds": 8.0}
SPENT = {"Health": {"image_macs": 5e8}, "Spending": SECONDS}


def toy_options(folder):
    """Options of a toy comparison, and the run folder of the search that it starts from."""
    (folder / "retrain.yaml").write_text(SHORT_TRAINING)
    save_supernet(folder / "found/checkpoints/last.ckpt", callbacks=SPENT)
    (folder / "found/config.yaml").write_text(SEARCH)
    return [
        "-c",
        folder / "retrain.yaml",
        "--cache",
        folder / "cache.jsonl",
        "--run",
        folder / "run",
        "--random",
        "2",
        "--trainings",
        "2",
        "--top",
        "2",
    ]


def first_stage(folder):
    """Options of the trials."""
    return [
        "--supernet",
        folder / "found/checkpoints/last.ckpt",
        "--evaluations",
        "24",
        "--seeds",
        "2",
        "--controllers",
        "tunas",
        "random",
    ]


def compare(files, *more):
    main([str(word) for word in (*files, *more)])


def save_run(folder, arch, told=True):
    folder.mkdir()
    (folder / "config.yaml").write_text(SEARCH)
    fields = dict.fromkeys(("accuracy", "reward"), 0.5)
    cost = MACS.predict(SPACE.spec(arch))
    found = ArchFile(
        SPACE,
        arch,
        predicted=cost,
        target=cost,
        unit="macs",
        table="",
        device="",
        seed=0,
        step=0,
        **fields,
    )
    write_arch(folder / "arch.json", found)
    if told:
        (folder / "cost.json").write_text(json.dumps({"image_macs": 5e8, **SECONDS}))
    return folder
