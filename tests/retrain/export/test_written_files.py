"""Files of an export: kept, counted, or not made, and what becomes of the others."""

import copy
import dataclasses
import hashlib
import json
from pathlib import Path

import torch

from retrain.export.export import main
from retrain.export.formats.formats import FORMATS
from retrain.export.formats.torch_program import write_pt2
from supernet.files.writing import write_json
from tests.helpers.exports import report_of, status_of

TOLD = dataclasses.replace(
    FORMATS["pt2"],
    write=lambda shipment, path: write_json(path, shipment.metadata),
    read_metadata=lambda path: json.loads(path.read_text()),
)
"""A format whose file holds what is said of the network, and no network."""


def test_a_file_with_a_wrong_weight_is_kept_reported_and_fails(run, monkeypatch, capsys):
    def write_wrong(shipment, path):
        wrong = copy.deepcopy(shipment.network)
        with torch.no_grad():
            wrong.blocks[0][0].conv_dw.weight[0, 0, 2, 2] += 0.5
        write_pt2(dataclasses.replace(shipment, network=wrong), path)

    monkeypatch.setitem(FORMATS, "pt2", dataclasses.replace(FORMATS["pt2"], write=write_wrong))
    assert status_of("--run", run, "--formats", "pt2", "--checkpoint", "last") == 1
    entry = report_of(run)["formats"]["pt2"]
    assert entry["max_difference"] > entry["tolerance"]
    assert "logits differ" in entry["failure"]
    assert (run / "network.pt2").exists()
    error = capsys.readouterr().err
    assert error.startswith("failed: pt2: logits differ by")
    assert error.count("\n") == 1


def test_a_file_whose_runtime_is_elsewhere_is_not_called_verified(run, monkeypatch, capsys):
    absent = dataclasses.replace(TOLD, platform="darwin", latency=lambda *file: 1.0)
    monkeypatch.setitem(FORMATS, "pt2", absent)
    monkeypatch.setattr("sys.platform", "linux")
    main(["--run", str(run), "--formats", "pt2"])
    entry = report_of(run)["formats"]["pt2"]
    assert entry["unverified"] == "converted, not verified: it runs on a Mac alone"
    assert not entry.keys() & {"agreement", "max_difference", "latency_ms"}
    assert entry["unverified"] in capsys.readouterr().out


def test_a_folder_is_counted_and_hashed_file_by_file(run, monkeypatch):
    def write_folder(shipment, path):
        path.mkdir()
        TOLD.write(shipment, path / "told.json")
        (path / "labels.txt").write_text("0 1")

    kind = dataclasses.replace(
        FORMATS["pt2"],
        suffix="folder",
        write=write_folder,
        read_metadata=lambda path: TOLD.read_metadata(path / "told.json"),
        platform="elsewhere",
    )
    monkeypatch.setitem(FORMATS, "pt2", kind)
    for _ in range(2):  # the second replaces the first
        main(["--run", str(run), "--formats", "pt2"])
    entry, folder = report_of(run)["formats"]["pt2"], run / "network.folder"
    assert entry["bytes"] == 3 + (folder / "told.json").stat().st_size
    assert entry["sha256"] == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()
    }
    assert not list(run.glob(".network*"))


def test_a_format_whose_package_is_missing_says_what_to_install(run, monkeypatch, capsys):
    absent = dataclasses.replace(FORMATS["executorch"], package="no_such_package")
    monkeypatch.setitem(FORMATS, "executorch", absent)
    assert status_of("--run", run, "--formats", "executorch") == 2
    assert capsys.readouterr().err == (
        "error: format executorch needs `pip install mnasnet-search[executorch]`\n"
    )


def spoil(monkeypatch, name, **parts):
    """Let a format fail as converters do: in words of many lines, about a cause of its own."""

    def fail(*given):
        for path in given:
            if isinstance(path, Path) and not path.exists():
                path.write_text("half")
        try:
            raise NotImplementedError("Unsupported node svd\nSee the trace")
        except NotImplementedError as error:
            raise RuntimeError("Conversion failed.\n" * 9) from error

    parts = dict.fromkeys(parts, fail)
    monkeypatch.setitem(FORMATS, name, dataclasses.replace(FORMATS[name], **parts))


def test_a_converter_that_fails_is_one_line_and_the_others_are_written(run, monkeypatch, capsys):
    (run / "network.onnx").write_text("of an earlier export")
    spoil(monkeypatch, "onnx", write=True)
    assert status_of("--run", run, "--formats", "onnx", "pt2") == 2
    said = (
        "its converter fails: Unsupported node svd (NotImplementedError); leave onnx out of"
        " --formats"
    )
    assert capsys.readouterr().err == f"error: onnx: {said}\n"
    report = report_of(run)
    assert list(report["formats"]) == ["pt2"]
    assert report["not_written"] == {"onnx": said}
    assert (run / "network.onnx").read_text() == "of an earlier export"
    assert not list(run.glob(".network*"))


def test_a_quantizer_that_fails_leaves_the_file_of_floats(run, monkeypatch, capsys):
    spoil(monkeypatch, "pt2", quantize=True)
    assert status_of("--run", run, "--formats", "pt2", "--quantize", "int8") == 2
    assert capsys.readouterr().err.startswith("error: pt2: its converter fails: Unsupported node")
    assert list(report_of(run)["formats"]) == ["pt2"]
    assert (run / "network.pt2").exists()
    assert not (run / "network.int8.pt2").exists()
