"""Splits by content: shares, what moves, copies, and what is refused."""

import hashlib
import random
from collections import Counter

import pytest

from supernet.data.content_split import deal_images, fill_gaps, split_of
from supernet.errors import UserError

SHARES = {"val": 0.1, "test": 0.2, "reward": 0.1}


def digest(number):
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def images(number, first=0):
    files = [(f"{i % 3}/{i}.png", i % 3) for i in range(first, first + number)]
    return files, {path: digest(path) for path, _ in files}


def deal(files, digests, seed=0, shares=SHARES):
    return deal_images(
        files if isinstance(files, dict) else {"train": files}, digests, shares, seed
    )


def splits(dealt):
    return {r.digest: split for split, records in dealt.records.items() for r in records}


def test_shares_are_met_within_what_chance_allows():
    dealt = deal(*images(20_000))
    sizes = {split: len(records) for split, records in dealt.records.items()}
    assert sum(sizes.values()) == 20_000
    for split, share in (SHARES | {"weights": 0.6}).items():
        deviation = (20_000 * share * (1 - share)) ** 0.5
        assert abs(sizes[split] - 20_000 * share) < 4 * deviation


def test_seeds_give_independent_splits():
    digests = images(20_000)[1]
    test = {
        seed: {d for d in digests.values() if split_of(seed, d, SHARES) == "test"}
        for seed in (0, 1)
    }
    assert abs(len(test[0] & test[1]) - 800) < 4 * 28  # a fifth of a fifth
    assert {d for d in digests.values() if split_of(0, d, SHARES) == "test"} == test[0]


@pytest.mark.parametrize(
    ("seed", "initials"),
    [(0, "wwwwwtwwwvwwtwwtwwwwwwtwwwvwtwtv"), (7, "wwrtvwwwwwvrwwwvwwrwwrvwwvrwwttt")],
)
def test_a_content_is_in_the_same_split_in_every_version(seed, initials):
    found = [split_of(seed, digest(number), SHARES) for number in range(32)]
    assert "".join(split[0] for split in found) == initials


def test_adding_renaming_relabelling_and_removing_move_no_other_image():
    files, digests = images(300)
    before = splits(deal(files, digests))
    more, more_digests = images(100, first=1000)
    assert before.items() <= splits(deal(files + more, digests | more_digests)).items()
    assert splits(deal(files[50:], digests)).items() <= before.items()
    renamed = [(f"x/{path}", 2 - label) for path, label in reversed(files)]
    assert splits(deal(renamed, {f"x/{p}": d for p, d in digests.items()})) == before


def test_the_order_of_a_split_is_that_of_the_contents():
    files, digests = images(300)
    order = [record.digest for record in deal(files, digests).records["weights"]]
    shuffled = random.Random(0).sample(files, len(files))
    again = [record.digest for record in deal(shuffled, digests).records["weights"]]
    assert again == order == sorted(order)


def test_another_share_moves_only_what_lies_at_its_end():
    files, digests = images(2000)
    before, after = (
        splits(deal(files, digests)),
        splits(deal(files, digests, shares=SHARES | {"val": 0.2})),
    )
    moved = Counter((before[d], after[d]) for d in before if before[d] != after[d])
    assert set(moved) == {("reward", "val"), ("weights", "reward")}


def test_copies_stand_in_one_split_and_are_counted():
    files, digests = images(100)
    files += [(f"copy{i}.png", 0) for i in range(50)]
    digests |= {f"copy{i}.png": digests[files[i][0]] for i in range(50)}
    dealt = deal(files, digests)
    at = {r.path: split for split, records in dealt.records.items() for r in records}
    assert all(at[f"copy{i}.png"] == at[files[i][0]] for i in range(50))
    assert dealt.num_copies == 50
    assert dealt.num_relabelled == sum(files[i][1] != 0 for i in range(50))
    assert dealt.left_out == []
    assert dealt.notes("abc")[0] == f"50 exact copies, {dealt.num_relabelled} of another class"


def test_a_content_that_lies_in_two_folders_stays_in_test_then_in_val():
    names = {"train": "abcdefgh", "val": "aijx", "test": "bix"}
    files = {
        folder: [(f"{folder}/{n}", ord(n) % 2) for n in held] for folder, held in names.items()
    }
    digests = {f"{folder}/{n}": digest(n) for folder, held in names.items() for n in held}
    dealt = deal(files, digests, shares={"reward": 0.3})
    held = {split: "".join(sorted(r.path[-1] for r in rs)) for split, rs in dealt.records.items()}
    assert held["test"] == "bix"
    assert held["val"] == "aj"
    assert "".join(sorted(held["weights"] + held["reward"])) == "cdefgh"
    assert sorted(r.path for r in dealt.left_out) == ["train/a", "train/b", "val/i", "val/x"]
    assert {r.split for r in dealt.left_out} == {"copy"}
    assert dealt.num_copies == 4
    assert "4 left out, since val or test has their copy" in dealt.notes("ab")


def test_a_path_without_a_digest_is_passed_over():
    files, digests = images(100)
    del digests["0/0.png"]
    assert len(splits(deal(files, digests))) == 99


def filled(labels, seed=0, classes="abc"):
    files = [(f"{i}.png", label) for i, label in enumerate(labels)]
    dealt = deal(files, {path: digest(path) for path, _ in files}, seed)
    fill_gaps(dealt, SHARES, seed, classes)
    return dealt


@pytest.mark.parametrize("seed", range(20))
def test_few_images_fill_every_split_and_train_every_class(seed):
    dealt = filled([0, 1, 2] * 3, seed)
    assert all(dealt.records.values())
    assert {record.label for record in dealt.records["weights"]} == {0, 1, 2}
    assert all(r.split == split for split, records in dealt.records.items() for r in records)
    assert len(splits(dealt)) == 9
    assert splits(filled([0, 1, 2] * 3, seed)) == splits(dealt)


def test_nothing_moves_where_there_is_no_gap():
    files, digests = images(300)
    dealt = deal(files, digests)
    fill_gaps(dealt, SHARES, 0, "abc")
    assert splits(dealt) == splits(deal(files, digests))


@pytest.mark.parametrize(
    ("labels", "classes"), [([0, 0, 1, 1], "ab"), (range(1000), list(map(str, range(1000))))]
)
def test_too_few_images_for_all_splits_are_refused_in_a_line(labels, classes):
    with pytest.raises(UserError, match=f"^{len(labels):,} different images are too few") as error:
        filled(labels, classes=classes)
    assert str(error.value).endswith("add images, or remove classes that have one or two")


def test_copies_of_one_image_cannot_fill_the_splits():
    files, digests = images(50)
    dealt = deal(files, dict.fromkeys(digests, "0" * 32))
    with pytest.raises(UserError, match=r"^1 different images are too few: none can be spared for"):
        fill_gaps(dealt, SHARES, 0, "abc")


def test_copies_move_together_into_a_gap():
    labels = [0, 1] * 6
    files = [(f"{i}.png", label) for i, label in enumerate(labels)]
    digests = {path: digest(int(path[:-4]) // 4) for path, _ in files}
    for seed in range(20):
        dealt = deal(files, digests, seed, {"test": 0.2})
        dealt.records.pop("val"), dealt.records.pop("reward")
        fill_gaps(dealt, {"test": 0.2}, seed, "ab")
        assert len(dealt.records["test"]) in {4, 8}
        assert sum(map(len, dealt.records.values())) == 12


def test_classes_that_a_split_lacks_are_noted():
    files, digests = images(200)
    first = next(p for p, _ in files if split_of(0, digests[p], SHARES) == "weights")
    files = [(path, 3 if path == first else label) for path, label in files]
    notes = deal(files, digests).notes(["ant", "bee", "cat", "owl"])
    assert notes == [f"no {split} image of owl" for split in ("reward", "val", "test")]
