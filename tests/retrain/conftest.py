"""What tests of retraining share: graphs of networks that are alike are made once."""

import hashlib
import os
import shutil

import pytest
import torch


@pytest.fixture(scope="session")
def _kept_graphs(tmp_path_factory):
    """A folder of exported graphs, which the processes of a run of the tests share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "graphs"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(autouse=True, scope="session")
def _graphs_once(_kept_graphs):
    """A graph takes seconds to write, and the network of most tests of exports is the same."""
    write = torch.onnx.export

    def write_once(program, arguments, path, **settings):
        kept = _kept_graphs / f"{content(program, settings)}.onnx"
        if not kept.exists():
            write(program, arguments, path, **settings)
            own = kept.with_suffix(f".{os.getpid()}")
            shutil.copyfile(path, own)
            own.replace(kept)
        shutil.copyfile(kept, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", write_once)
        yield


def content(program, settings):
    """A hash of all that a graph is made of."""
    of = hashlib.sha256(repr((str(program.graph_signature), program.range_constraints)).encode())
    of.update(program.graph_module.print_readable(print_output=False).encode())
    operators = sorted(map(str, settings["custom_translation_table"]))
    others = {name: value for name, value in settings.items() if name != "custom_translation_table"}
    of.update(repr((operators, sorted(others.items()))).encode())
    for name, value in (program.state_dict | program.constants).items():
        of.update(name.encode() + value.detach().numpy().tobytes())
    return of.hexdigest()
