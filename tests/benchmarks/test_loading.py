"""The benchmark of loaders: every loader reads every file, and the rates are of one core."""

import pytest

from benchmarks.loading import OTHERS, OURS, Kind, measure, readers, write_photos


@pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")
def test_every_loader_gives_all_files_in_batches_of_one_size(tmp_path):
    paths = write_photos(tmp_path, Kind("small", (480, 320), 4, 3.0, 90))
    assert len(set(paths)) == 4
    for name, read in readers(paths, 2).items():
        batches = read()
        assert [tuple(images.shape) for images, _ in batches] == [(2, 3, 224, 224)] * 2, name
        assert sorted(int(label) for _, labels in batches for label in labels) == [0, 1, 2, 3]
    found = measure(paths, rounds=1)
    assert {OURS, *OTHERS} <= found.keys()
    assert min(found.values()) > 0
