"""A search's checkpoint gives its supernet back."""

import dataclasses
import random

import pytest
import torch

from supernet.errors import UserError
from supernet.network.supernet import SuperNet, load_supernet
from supernet.space.mnasnet import MnasSpace

SPACE = MnasSpace(width=0.1, stem_stride=1, resolution=8, classes=10, head=16)


def test_the_supernet_comes_back_with_its_weights(tmp_path):
    supernet = SuperNet(SPACE)
    state = {f"supernet.{name}": value for name, value in supernet.state_dict().items()}
    state["controller.head_bias"] = torch.zeros(1)
    path = tmp_path / "last.ckpt"
    torch.save(
        {"search": {"space": dataclasses.asdict(SPACE), "seed": 0}, "state_dict": state}, path
    )
    arch, images = SPACE.sample(random.Random(0)), torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(load_supernet(path)(images, arch), supernet(images, arch))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"not a checkpoint"])
def test_a_broken_checkpoint_is_refused_by_name(tmp_path, content):
    path = tmp_path / "last.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"last\.ckpt is no checkpoint of a search"):
        load_supernet(path)


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": {}}, path)
    with pytest.raises(UserError, match="no checkpoint of a search"):
        load_supernet(path)


def test_a_supernet_of_other_tensors_is_refused(tmp_path):
    path = tmp_path / "last.ckpt"
    state = {f"supernet.{name}": value for name, value in SuperNet(SPACE).state_dict().items()}
    del state["supernet.conv_head"]
    torch.save(
        {"search": {"space": dataclasses.asdict(SPACE), "seed": 0}, "state_dict": state}, path
    )
    with pytest.raises(UserError, match="holds a supernet of another version: search again"):
        load_supernet(path)


def test_weights_that_no_search_has_trained_are_refused(tmp_path):
    path = tmp_path / "last.ckpt"
    state = {f"supernet.{name}": value for name, value in SuperNet(SPACE).state_dict().items()}
    search = {"space": dataclasses.asdict(SPACE), "seed": 0, "steps_done": 0}
    torch.save({"search": search, "state_dict": state}, path)
    with pytest.raises(UserError, match=r"no shared weights.*--model\.schedule\.share"):
        load_supernet(path)
