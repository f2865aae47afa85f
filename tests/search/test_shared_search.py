"""A whole search of a cell-based space: all blocks of what it chooses take one choice."""

import json

import pytest

from supernet.arch_file import read_arch
from tests.helpers.tiny import TUNED_OPTIONS

pytestmark = pytest.mark.slow
CELL = ("--model.space.shared_blocks", "true", "--model.target", "[p30, p70]")


@pytest.mark.parametrize("kind", ["ppo", "tunas", "evolution", "cost_gradient"])
def test_a_search_by_slices_hits_each_target(search, tiny_search, tmp_path, kind):
    search(*tiny_search, *CELL, "--model.controller.kind", kind)
    assert_cells(tmp_path / "run")


def assert_cells(run):
    for name in ("p30", "p70"):
        found = read_arch(run / f"arch-{name}.json")
        assert found.arch.blocks == (found.arch.blocks[0],) * 7
        assert 0.9 * found.target <= found.predicted <= found.target


def test_a_search_by_tunings_goes_on_as_it_was(search, tiny_search, tmp_path, capsys):
    search(*tiny_search, *TUNED_OPTIONS, *CELL)
    run = tmp_path / "run"
    assert_cells(run)
    rows = [json.loads(line) for line in (run / "tunings-rank0.jsonl").read_text().splitlines()]
    assert {len(row["code"]) for row in rows if "code" in row} == {6}
    written = (run / "arch-p30.json").read_bytes()
    on = ("--ckpt_path", "last")
    search(*tiny_search, *TUNED_OPTIONS, *CELL, *on)
    assert (run / "arch-p30.json").read_bytes() == written
    with pytest.raises(SystemExit):
        search(*tiny_search, *TUNED_OPTIONS, *CELL[2:], *on)
    assert "the checkpoint's space.shared_blocks is True, this search's is False" in (
        capsys.readouterr().err
    )
