"""Tables that the tests of this folder share."""

import pytest

from search.truth import truth
from search.truth.objectives import make_objective
from search.truth.tables import read_accel, read_macro
from search.truth.truth import Field, Truth
from tests.helpers.trained_tables import write_accel, write_macro


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A folder of both public tables, invented."""
    folder = tmp_path_factory.mktemp("data")
    write_accel(folder / "accel-nasbench")
    write_macro(folder / "nas-bench-macro")
    return folder


def hasten(patch):
    """Let a truth and the climb to its best network take little."""
    patch.setattr(truth, "DRAWS", 40_000)
    patch.setattr(truth, "GENERATIONS", 4)
    patch.setattr(truth, "FOLDS", 2)
    patch.setattr(truth, "ITERATIONS", 60)


@pytest.fixture
def quick(monkeypatch):
    """A truth that takes little."""
    hasten(monkeypatch)


@pytest.fixture(scope="session")
def field(data):
    """Networks of the space of Accel-NASBench that hit p50."""
    with pytest.MonkeyPatch.context() as patch:
        hasten(patch)
        patch.setattr(truth, "DRAWS", 60_000)
        patch.setattr(truth, "ITERATIONS", 300)
        known = Truth(read_accel(data / "accel-nasbench/networks.csv"))
        found = Field(known, make_objective(known.networks, "macs", "p50"))
        assert found.best >= found.worths.max()
    return found


@pytest.fixture(scope="session")
def macro(data):
    """The truth of NAS-Bench-Macro's decisions."""
    return Truth(read_macro(data / "nas-bench-macro/networks.csv"))
