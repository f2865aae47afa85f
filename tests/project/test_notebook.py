"""docs/python.ipynb runs from its first cell to its last."""

from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "python.ipynb"


@pytest.mark.slow  # a search, a training and an export
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=400, resources={"metadata": {"path": tmp_path}}
    ).execute()
    *_, shape, _, files = (
        cell for cell in notebook.cells if cell.cell_type in ("code", "markdown")
    )
    assert shape.outputs[-1]["data"]["text/plain"] == "torch.Size([1, 10])"
    assert files.outputs[-1]["data"]["text/plain"] == "('network.onnx', '')"
    runs = tmp_path / "runs" / "notebook"
    assert (runs / "search" / "report.html").exists()
    assert (runs / "small" / "network.onnx").exists()


def test_the_notebook_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not [
        cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")
    ]
