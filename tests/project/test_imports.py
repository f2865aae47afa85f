"""The import rules: arrows point one way, no circles, light rooms stay light, rooms stay small."""

import ast
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from PIL import Image

from docs.rooms import (
    MARK,
    PACKAGES,
    PAGE,
    PICTURE,
    digest,
    draw,
    folder,
    imports,
    in_circles,
    listing,
    modules,
)

ROOT = Path(__file__).parents[2]
APART = {("search", "retrain"), ("retrain", "search"), ("supernet", "search")}
APART |= {("supernet", "retrain")}
LARGEST_ROOM = 13
SHORTEST_FILE = 60
SHORT = {
    "retrain/__main__.py": "entry point",
    "retrain/card/__main__.py": "entry point",
    "retrain/detect/__main__.py": "entry point",
    "retrain/export/__main__.py": "entry point",
    "retrain/export/formats/formats.py": "the list of formats, which are one file each",
    "retrain/export/formats/torch_program.py": "one runtime",
    "search/__main__.py": "entry point",
    "search/compare/__main__.py": "entry point",
    "search/evaluation/int8_accuracy.py": "loads onnx where it is asked for, which others must not",
    "search/gradients/strategy.py": "a class of Lightning's, which the other files know nothing of",
    "search/paper/__main__.py": "entry point",
    "search/plan/__main__.py": "entry point",
    "search/rank/__main__.py": "entry point",
    "search/truth/__main__.py": "entry point",
    "supernet/data/image_folder.py": "one layout of stored images, which old configs name by it",
    "supernet/latency/devices/opening.py": "imports all devices, where backends imports none",
    "supernet/space/__main__.py": "entry point that says where its commands have gone",
}
"""Files under that many lines, each with its reason."""
FILES = sorted(modules().values())
MODULES = [path for path in FILES if path.name != "__init__.py"]
LIGHT = ("supernet.space.", "supernet.cost.", "supernet.files.")


def room(name):
    """The folder of a module; what lies in a package itself stands for itself."""
    return name if folder(name) in PACKAGES else folder(name)


def test_circles_are_seen():
    chain = {"a": {"b"}, "b": {"c"}, "c": set()}
    assert in_circles(chain) == []
    assert in_circles({**chain, "c": {"b"}}) == ["b", "c"]


def test_every_import_of_the_project_is_of_a_module_that_exists():
    assert {name for names in imports().values() for name in names} <= modules().keys()


@pytest.mark.parametrize("name", modules())
def test_imports_point_one_way(name):
    own = name.split(".")[0]
    others = {other.split(".")[0] for other in imports()[name]}
    assert not {(own, other) for other in others} & APART


def test_files_form_no_circle():
    assert in_circles(imports()) == []


def test_rooms_form_no_loop():
    arrows = defaultdict(set)
    for name, imported in imports().items():
        arrows[room(name)] |= {room(other) for other in imported} - {room(name)}
    assert in_circles(arrows) == []


def test_rooms_are_small():
    sizes = Counter(path.parent.relative_to(ROOT) for path in MODULES)
    assert {str(room): size for room, size in sizes.items() if size > LARGEST_ROOM} == {}


def test_short_files_say_why():
    short = {
        str(path.relative_to(ROOT))
        for path in MODULES
        if len(path.read_text().splitlines()) < SHORTEST_FILE
    }
    assert short == set(SHORT)


def test_the_space_its_costs_and_files_load_no_torch():
    light = [name for name in modules() if name.startswith(LIGHT) and "__main__" not in name]
    light += ["supernet.arch_file", "supernet.data_description", "supernet.display.commands"]
    code = f"import sys, {', '.join(light)}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("path", [one for one in FILES if one.name == "__init__.py"], ids=str)
def test_package_files_hold_a_docstring_only(path):
    docstring, *others = ast.parse(path.read_text()).body
    assert isinstance(docstring, ast.Expr)
    if path.parent.name == "data":  # configs of old runs name supernet.data.Digits
        others = [one for one in others if not isinstance(one, ast.ImportFrom | ast.Assign)]
    assert others == []


@pytest.mark.parametrize("path", [one for one in FILES if one.name == "__main__.py"], ids=str)
def test_main_files_hold_no_class(path):
    assert not [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]


def test_the_picture_of_the_rooms_is_drawn_alike_by_every_process(tmp_path):
    draw(tmp_path / "here.png")
    code = "import pathlib, sys; from docs.rooms import draw; draw(pathlib.Path(sys.argv[1]))"
    words = [sys.executable, "-c", code, str(tmp_path / "there.png")]
    # Where arrows cross their order shows, which once was that of a set.
    subprocess.run(words, check=True, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "1"})
    assert (tmp_path / "here.png").read_bytes() == (tmp_path / "there.png").read_bytes()


def test_the_page_and_the_picture_of_the_rooms_are_of_today():
    way_out = "run python docs/rooms.py"
    assert f"{MARK}\n\n{listing()}\n\n" in PAGE.read_text(), way_out
    with Image.open(PICTURE) as picture:
        assert picture.text["Description"] == digest(), way_out
