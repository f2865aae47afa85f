"""The picture of the way from images to a network: its numbers are those of today's defaults."""

from matplotlib.image import imread
from PIL import Image

from docs.how_it_works import ARROWS, PICTURE, boxes, digest, draw


def test_the_picture_is_of_todays_defaults():
    with Image.open(PICTURE) as picture:
        assert picture.info["Description"] == digest(), "run python docs/how_it_works.py"


def test_every_step_is_drawn_where_it_overlaps_no_other(tmp_path):
    draw(tmp_path / "picture.png")
    assert imread(tmp_path / "picture.png").shape[:2] == imread(PICTURE).shape[:2]
    places = [(round(box.x, 1), round(box.y, 1)) for box in boxes().values()]
    assert len(set(places)) == len(places)
    assert {name for arrow in ARROWS for name in arrow} == boxes().keys()
