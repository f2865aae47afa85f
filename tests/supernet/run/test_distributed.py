"""What ranks have alike: rank 0's result, and the same code and images."""

import pytest

from supernet.errors import UserError
from supernet.run import distributed
from supernet.run.distributed import built_by_rank_zero, check_ranks_agree


@pytest.fixture
def as_rank(monkeypatch):
    """Be a rank of several, of which what rank 0 tells reaches the others."""
    told = []

    def tell(items):
        if distributed.distributed.get_rank() == 0:
            told[:] = items
        return list(told)

    def become(rank):
        monkeypatch.setattr(distributed, "has_peers", lambda: True)
        monkeypatch.setattr(distributed, "told_by_rank_zero", tell)
        monkeypatch.setattr(distributed.distributed, "get_rank", lambda: rank)

    return become


def test_a_process_alone_builds_by_itself():
    assert built_by_rank_zero(lambda: 3) == 3
    check_ranks_agree({"images": "ab"})


def test_rank_zero_builds_for_all(as_rank):
    as_rank(0)
    assert built_by_rank_zero(lambda: "rank 0's") == "rank 0's"
    as_rank(1)
    assert built_by_rank_zero(lambda: pytest.fail("nobody asks for it")) == "rank 0's"


def test_what_rank_zero_cannot_build_ends_all(as_rank):
    def fail():
        raise UserError("no such table")

    for rank in (0, 1):
        as_rank(rank)
        with pytest.raises(UserError, match="no such table"):
            built_by_rank_zero(fail if rank == 0 else lambda: "another's")


def test_a_rank_with_other_images_is_named_on_every_rank(monkeypatch):
    held = [("one", {"code": "c", "images": "ab"}), ("two", {"code": "c", "images": "cd"})]
    monkeypatch.setattr(distributed, "gather_objects", lambda mine: held)
    with pytest.raises(UserError, match=r"rank 1 on two has other images \(cd\) than rank 0 on on"):
        check_ranks_agree({"code": "c", "images": "ab"})
    held[1][1]["images"] = "ab"
    check_ranks_agree({"code": "c", "images": "ab"})
