"""The exact latency table of a small space, measured once for the tests that read or spoil it."""

import pytest

from tests.helpers.synthetic_device import build


@pytest.fixture(scope="package")
def exact(tmp_path_factory):
    """A folder with the exact table of TINY, its raw times beside it; it is not to be changed."""
    folder = tmp_path_factory.mktemp("exact")
    build(folder)
    return folder
