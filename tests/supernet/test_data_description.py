"""What a network is told of its data."""

import dataclasses

import pytest

from supernet.data_description import DataDescription, Preprocessing
from supernet.errors import UserError

SOUND = Preprocessing(256, 224, "bicubic", (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


def test_classes_without_names_are_numbered():
    assert DataDescription.of_classes(3).classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"resize": 0}, "preprocessing.resize is 0, it must be at least 1"),
        ({"crop": 257}, "preprocessing.crop is 257, it must be at most 256"),
        ({"interpolation": "box"}, "preprocessing.interpolation is 'box', allowed are nearest"),
        ({"std": (1.0, 0.0, 1.0)}, "preprocessing.std is 0.0, it must be above 0"),
        ({"mean": (0.0, float("nan"), 0.0)}, "preprocessing.mean is nan"),
        ({"background": (0, 0, 256)}, "preprocessing.background is 256"),
    ],
)
def test_a_preprocessing_that_cannot_be_is_refused(changed, line):
    with pytest.raises(UserError, match=line):
        dataclasses.replace(SOUND, **changed)


def test_two_classes_of_one_name_are_refused():
    with pytest.raises(UserError, match="'cat' twice"):
        DataDescription(("cat", "dog", "cat"))
