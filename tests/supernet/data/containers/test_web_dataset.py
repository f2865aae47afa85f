"""WebDataset: samples of shards are read, split and known as the same files in folders are."""

import io
import tarfile

import numpy as np
import pytest
import torch

from supernet.data.containers.web_dataset import WebDataset
from supernet.data.image_folder import ImageFolder
from supernet.data.resumable import Blocks, StepBatchSampler, resumable
from supernet.data.run_data import RunData
from supernet.errors import UserError
from tests.helpers.encoded_images import NAMES, contents, labelled, write_folder, write_shard

SETTINGS = {"resolution": 8, "batch_size": 4, "num_workers": 0}


def shards(root, **settings):
    return WebDataset(str(root), **{**SETTINGS, **settings})


def refused(root, **settings):
    with pytest.raises(UserError) as error:
        shards(root, **settings).prepare_data()
    line = str(error.value)
    assert "\n" not in line
    return line


@pytest.fixture
def root(tmp_path):
    images = labelled(12)
    for number in range(3):
        write_shard(
            tmp_path / "shards" / f"part-{number}.tar", images[12 * number :][:12], 12 * number
        )
    return tmp_path / "shards"


@pytest.fixture
def names(tmp_path):
    (tmp_path / "names.txt").write_text("\n".join(NAMES) + "\n")
    return str(tmp_path / "names.txt")


def test_samples_are_dealt_and_seen_as_the_same_files_in_a_folder(root, names, tmp_path):
    ours = shards(root, class_names=names)
    folder = ImageFolder(str(write_folder(tmp_path / "images", labelled(12))), **SETTINGS)
    assert ours.classes == folder.classes == NAMES
    assert contents(ours) == contents(folder)
    for part in ("weights", "val", "test"):
        loaders = [getattr(data, f"{part}_dataloader")() for data in (ours, folder)]
        batches = [list(resumable(one, seed=3, batch_size=2)) for one in loaders]
        for (images, labels), (others, theirs) in zip(*batches, strict=True):
            assert torch.equal(images, others)
            assert torch.equal(labels, theirs)
    held = {one.path.split("/")[0] for one in ours.image_records()}
    assert held == {f"part-{number}.tar" for number in range(3)}


def test_decoded_images_are_kept_by_content_wherever_they_lie(root, names, tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "images", labelled(12))
    data = ImageFolder(str(folder), cache=True, **SETTINGS)
    before = list(data.val_dataloader().dataset)
    ours = shards(root, class_names=names, cache=True)
    images = ours.val_dataloader().dataset
    monkeypatch.setattr(ours.store, "content", lambda path: 1 / 0)
    assert len(images) == len(before) > 0
    for (image, label), (other, theirs) in zip(images, before, strict=True):
        assert torch.equal(image, other)
        assert label == theirs


def test_shards_of_the_library_are_read(tmp_path):
    library = pytest.importorskip("webdataset", reason="webdataset is not installed")
    with library.ShardWriter(str(tmp_path / "train-%04d.tar"), maxcount=10, verbose=0) as writer:
        for number, (content, label) in enumerate(labelled(9)):
            writer.write({"__key__": f"{number:05d}", "png": content, "cls": label})
    ours = shards(tmp_path)
    assert len(list(tmp_path.glob("*.tar"))) == 3
    theirs = {}
    for path in tmp_path.glob("*.tar"):
        with path.open("rb") as stream:
            files = library.tariterators.tar_file_expander([{"url": "", "stream": stream}])
            for sample in library.tariterators.group_by_keys(files):
                theirs[f"{path.name}/{sample['__key__']}.png"] = sample
    records = ours.image_records()
    assert {record.path for record in records} == set(theirs)
    for record in records:
        assert int(theirs[record.path]["cls"]) == record.label
        assert theirs[record.path]["png"] == ours.store.content(f"{tmp_path}/{record.path}")


def test_names_of_shards_and_of_folders_tell_their_splits(tmp_path, capsys):
    images = labelled(12)
    write_shard(tmp_path / "set-train-0.tar", images[:30])
    write_shard(tmp_path / "validation" / "0.tar", images[30:33])
    write_shard(tmp_path / "Test" / "deep" / "images_1.tar", images[33:])
    write_shard(tmp_path / ".hidden" / "train-9.tar", images)
    data = RunData(shards(tmp_path), "retrain", seed=0)
    data.setup("fit")
    line = capsys.readouterr().out
    assert "30 training, 3 validation, 3 test images of 12x9 px, read at 8 px" in line
    patterns = {"train": "set-*.tar", "test": "validation/*"}
    told = RunData(shards(tmp_path, splits=patterns), "retrain", seed=0)
    told.setup("fit")
    assert "1 shards of no split ignored" in capsys.readouterr().out
    assert sum(record.split == "test" for record in told.inner.image_records()) == 3


def test_members_that_are_no_images_are_left_out_and_keys_name_what_is_meant(tmp_path):
    write_shard(tmp_path / "a.tar", labelled(9), extra={"note.json": b"{}"})
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        for number, (content, label) in enumerate(labelled(9)):
            for ending, text in (("a.png", content), ("b.png", b""), ("y", f"{label}".encode())):
                member = tarfile.TarInfo(f"./some.folder/{number}.{ending}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text))
    line = refused(tmp_path)
    assert "has 2 images, such as ./some.folder/0.a.png and ./some.folder/0.b.png: say" in line
    data = shards(tmp_path, image_key="png;a.png", splits={"train": "a.tar"})
    assert "9 samples without an image" not in str(data.notes)
    assert len(data.image_records()) == 27
    other = shards(tmp_path, image_key="a.png", label_key="y", splits={"train": "b.tar"})
    assert contents(other) == contents(data)


def test_few_shards_are_shared_by_many_processes_without_repeats(root, tmp_path):
    data = shards(root, num_workers=0, splits={"train": "part-0.tar"})
    whole = data.weights_dataloader()
    number = len(whole.dataset)
    seen = []
    for rank in range(4):
        loader = resumable(whole, seed=1, rank=rank, world_size=4, batch_size=1)
        batches = [index for batch in loader.sampler for index, _ in batch]
        assert len(list(loader)) == len(batches)
        seen += batches
    assert len(seen) == len(set(seen)) == number // 4 * 4


def test_a_resume_goes_on_at_the_very_sample_whatever_is_shuffled_at_once(root):
    for at_once in (None, 1, 2):
        data = shards(root, shards_at_once=at_once)
        loader = data.weights_dataloader()
        whole = [images for images, _ in resumable(loader, seed=5)]
        left = [images for images, _ in resumable(loader, seed=5, start_step=2)]
        assert len(left) == len(whole) - 2 > 1
        assert all(map(torch.equal, left, whole[2:]))


def test_shards_at_once_are_read_to_their_end_and_every_image_once():
    numbers = np.repeat(np.arange(6), 10)
    rng = np.random.default_rng(0)
    blocks = Blocks(rng.permutation(numbers), at_once=2)
    orders = []
    for epoch in range(2):
        sampler = StepBatchSampler(60, 4, seed=0, start_step=15 * epoch, blocks=blocks)
        order = [index for batch in sampler for index, _ in batch]
        assert sorted(order) == list(range(60))
        seen = blocks.numbers[order]
        for start in (0, 20, 40):
            assert len(set(seen[start : start + 20])) == 2
            assert len(set(seen[start : start + 8])) == 2  # mixed
        orders.append(order)
    assert orders[0] != orders[1]
    ranks = [StepBatchSampler(60, 2, 0, rank, 2, blocks=blocks) for rank in range(2)]
    both = [sorted(one + other) for one, other in zip(*ranks, strict=True)]
    assert both == [sorted(batch) for batch in StepBatchSampler(60, 4, 0, blocks=blocks)]


def test_an_index_is_kept_until_its_shard_changes(root, monkeypatch):
    before = contents(shards(root))
    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "open", lambda *words: 1 / 0)
        assert contents(shards(root)) == before
    write_shard(root / "part-0.tar", labelled(20)[:50:3])
    assert contents(shards(root)) != before


def test_a_corrupt_image_in_a_shard_is_named_or_skipped(root):
    images = labelled(12)[:12]
    images[2] = (b"no image", 2)
    write_shard(root / "part-0.tar", images)
    assert refused(root).startswith(
        "1 of 36 images cannot be read: part-0.tar/00002.png (cannot identify image file);"
        " repair them, or go on without them: --data.on_bad_image skip"
    )
    data = shards(root, on_bad_image="skip")
    assert any("part-0.tar/00002.png" in note for note in data.notes)


def test_shards_that_are_no_archives_or_cut_off_are_named(root):
    whole = (root / "part-1.tar").read_bytes()
    for content in (b"x" * 3000, whole[:2000], b""):
        (root / "part-1.tar").write_bytes(content)
        assert f"{root}/part-1.tar cannot be read as a tar archive (" in refused(root)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("0.png"))
    (root / "part-1.tar").write_bytes(data.getvalue())
    assert "one that is compressed must be unpacked" in refused(root)


def test_names_and_links_of_a_hostile_shard_do_no_harm(root):
    with tarfile.open(root / "part-3.tar", "w") as archive:
        link = tarfile.TarInfo("90.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        for name in ("../91\x1b[2J.png", "/92.png"):
            member = tarfile.TarInfo(name)
            member.size = 8
            archive.addfile(member, io.BytesIO(b"no image"))
    line = refused(root)
    assert line.startswith(f"2 of 38 images of {root} have no label, such as part-3.tar/")
    assert line.isprintable()
    for names in (("90.png", "/90.png"), ("9" * 2000 + ".png",), ("90.png", "90.png")):
        with tarfile.open(root / "part-3.tar", "w") as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(name))
        assert ": give each " in (line := refused(root))
        assert line.startswith(f"{root}/part-3.tar holds 9")


def test_an_empty_line_between_names_of_classes_gives_no_class_the_next_ones_name(root, tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("cat\n\ndog\n")
    assert f"line 2 of {path} is empty: name a class" in refused(root, class_names=str(path))


def test_labels_that_are_missing_or_no_class_are_named(root, names):
    write_shard(root / "part-3.tar", [(labelled(1)[0][0], 7)], start=90)
    line = refused(root, class_names=names)
    assert (
        f"part-3.tar/00090.png of {root} has the label 7, but those of classes are 0 to 2" in line
    )
    assert "has no image of class 3, 4, 5, 6" in refused(root)
    write_shard(root / "part-3.tar", [(labelled(1)[0][0], -1)], start=90)
    assert "has the label -1, but those of classes are 0 to 2" in refused(root)
    write_shard(root / "part-3.tar", [(labelled(1)[0][0], None)], start=90)
    assert refused(root).startswith(f"1 of 37 images of {root} have no label, such as part-3.tar/")
    assert "36 of 37" in (line := refused(root, label_key="txt")) or "37 of 37 images" in line
    write_shard(root / "part-3.tar", [(labelled(1)[0][0], "x" * 2000)], start=90)
    assert "00090.cls of" in (line := refused(root))
    assert "has 2,000 bytes, which is no label" in line


def test_folders_without_usable_shards_are_named(tmp_path, root):
    assert "/nowhere is not a folder: give one that holds shards" in refused("/nowhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "train.tar.gz").write_bytes(b"")
    line = refused(tmp_path / "empty")
    assert "holds no shards, .tar files, but train.tar.gz: put them there, unpacked" in line
    (root / "part-0.tar").rename(root / "test-0.tar")
    assert "the shards part-1.tar, part-2.tar of" in refused(root)
    for number in (1, 2):
        (root / f"part-{number}.tar").unlink()
    assert "has shards of test, but none of train" in refused(root)


def test_patterns_and_numbers_that_cannot_work_are_named(root):
    assert "data.splits names 'x*', but no shard of" in refused(root, splits={"train": "x*"})
    assert "data.splits names no shards for train" in refused(root, splits={"test": "*"})
    both = {"train": "*", "test": "part-1.tar"}
    assert "data.splits has part-1.tar in two splits" in refused(root, splits=both)
    assert "data.splits is 'dev', allowed are" in refused(root, splits={"dev": "*"})
    assert "shards_at_once is 0, it must be at least 1" in refused(root, shards_at_once=0)
    assert "the shards of" in (line := refused(root, image_key="jpg"))
    assert "hold no image" in line
    assert "cannot read /nowhere.txt" in refused(root, class_names="/nowhere.txt")
