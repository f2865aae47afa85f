"""benchmarks/digits.py draws networks beside the one that a search has found."""

from benchmarks.digits import random_neighbours
from supernet.arch_file import ArchFile, read_arch, write_arch
from supernet.arch_records import Measured
from tests.helpers.tables import TINY, random_table


def test_random_neighbours_are_near_and_can_be_written(tmp_path):
    table = random_table(TINY, seed=0)
    arch = next(iter(TINY.samples(0)))
    ms = table.predict(TINY.spec(arch))
    found = ArchFile(
        space=TINY,
        arch=arch,
        predicted=ms,
        unit="ms",
        table=table.hash,
        device=table.device,
        accuracy=0.9,
        reward=0.8,
        target=2 * ms,
        seed=3,
        step=10,
        measured=Measured.beside(ms, 1.1 * ms),
    )
    neighbours = random_neighbours(found, table, num=4)
    assert len(neighbours) == 4
    for number, one in enumerate(neighbours):
        write_arch(tmp_path / f"{number}.json", one)
        assert read_arch(tmp_path / f"{number}.json") == one
        assert one.predicted == table.predict(one.spec)
        assert 0.9 <= one.predicted / ms <= 1.1
    assert len({one.spec for one in neighbours}) > 1
