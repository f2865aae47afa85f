"""LiteRT: the environment that is made for it, what is done there, and what its files hold."""

import sys
import zipfile

import numpy as np
import pytest
import torch

from retrain.export.formats.litert_child import _stride_after_pool
from retrain.export.formats.litert_environment import MARK, PACKAGES, litert_python, run_child
from retrain.export.formats.litert_file import (
    _write,
    measure_litert,
    quantize_litert,
    read_litert_metadata,
)
from supernet.errors import UserError
from tests.helpers.exports import skip_without
from tests.helpers.shipments import IMAGES, told_shipment


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the environment is to be."""
    monkeypatch.setenv("MNASNET_LITERT", str(tmp_path / "litert"))
    return tmp_path / "litert"


def program(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines]))
    path.chmod(0o755)
    return str(path)


def test_the_environment_is_made_once(folder, tmp_path, monkeypatch, capsys):
    log, python = tmp_path / "log", folder / "bin" / "python"
    logs = f'echo "$@" >> {log}'
    maker = program(
        tmp_path / "maker", logs, f"mkdir -p {python.parent}", f"[ -e {python} ] || cp $0 {python}"
    )
    monkeypatch.setattr(sys, "executable", maker)
    for _ in range(2):
        assert litert_python() == python
    install = f"-I -m pip install {' '.join(PACKAGES)}"
    assert log.read_text() == f"-m venv {folder}\n{install}\n"
    assert capsys.readouterr().out.startswith(f"litert: installing {PACKAGES[0]} and ")
    (folder / MARK).write_text("")  # as a killed command leaves it
    litert_python()
    assert log.read_text().count(install) == 2


def test_an_environment_that_cannot_be_made_is_one_line(folder, tmp_path, monkeypatch):
    said = "ERROR: No matching distribution found for torch==2.13.0"
    monkeypatch.setattr(
        sys, "executable", program(tmp_path / "maker", f"echo '{said}' >&2", "exit 1")
    )
    for _ in range(2):  # what is there is no environment
        with pytest.raises(UserError, match=r"cannot be made in .*: No matching .* same command"):
            litert_python()


def test_an_environment_of_the_user_stays_as_it_is(folder):
    folder.mkdir()
    with pytest.raises(UserError, match=r"has no bin/python: let MNASNET_LITERT name"):
        litert_python()
    program(folder / "bin" / "python", "exit 3")
    assert litert_python() == folder / "bin" / "python"
    assert [path.name for path in folder.iterdir()] == ["bin"]
    with pytest.raises(RuntimeError, match="it ended with status 3"):
        run_child("run")


def test_an_error_of_the_child_is_its_last_line(folder):
    program(folder / "bin" / "python", f'exec {sys.executable} "$@"')
    pattern = r"^ModuleNotFoundError: No module named 'ai_edge_litert'$"
    with pytest.raises(RuntimeError, match=pattern):
        run_child("run", model=np.zeros(8, np.uint8), images=IMAGES.numpy())


@torch.no_grad()
def test_pools_that_are_quantized_have_stride_1_and_the_same_values():
    network = told_shipment().network
    module = torch.export.export(network, (IMAGES[:1],)).module()
    pools = [node for node in module.graph.nodes if str(node.target) == "aten.avg_pool2d.default"]
    assert any(node.args[2] == [2, 2] for node in pools)
    _stride_after_pool(module)
    assert all(node.args[2] == [1, 1] for node in pools)
    torch.testing.assert_close(module(IMAGES[:1]), network(IMAGES[:1]))


def test_an_archive_behind_the_model_says_what_it_was_given(tmp_path):
    told, path = told_shipment().metadata, tmp_path / "network.tflite"
    _write(np.arange(100, dtype=np.uint8), told, path)
    assert path.read_bytes()[:100] == bytes(range(100))
    assert read_litert_metadata(path) == told
    assert zipfile.ZipFile(path).read("labels.txt").decode().split("\n") == told["classes"]


@torch.no_grad()
def test_a_model_in_int8_is_smaller_and_computes_nearly_the_same(tmp_path):
    skip_without("litert")
    shipment = told_shipment()
    images = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    small = quantize_litert(shipment, tmp_path / "unused", images)
    (logits,), expected = small.run(images), shipment.network(images)
    assert 0 < (logits - expected).norm() < 0.3 * expected.norm()
    small.write(shipment.metadata, tmp_path / "network.int8.tflite")
    assert measure_litert(tmp_path / "network.int8.tflite", 8) > 0
