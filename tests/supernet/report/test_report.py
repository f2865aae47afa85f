"""The report of a run: its sections are what its files say, and it opens in a browser, offline."""

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from supernet import __main__ as supernet_command
from supernet.errors import UserError
from supernet.report import report
from supernet.report.front import INSTALL, LIVE
from supernet.report.predictions import Prediction, write_predictions, write_worst
from supernet.report.report import report_after, write_report
from supernet.space.published import published_spec
from tests.helpers.html_page import Page
from tests.helpers.surrogate_file import content

RECORDED = Path(__file__).parents[2] / "samples" / "fa87f1f"
CLASSES = ["owl", "<script>alert(1)</script>", '$x$ & "y"']
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), ""
)

SWITCHES = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
SWITCHES += ["--virtual-time-budget=5000", "--window-size=1000,3000"]


def recorded(folder: Path, name: str) -> Path:
    """A copy of a run that an earlier version has recorded."""
    return Path(shutil.copytree(RECORDED / name, folder / name))


def predictions() -> list[Prediction]:
    """Of twelve images of three classes, one of which is wrong."""
    rows = [Prediction(i, f"{i % 3}/{i}.jpg", i % 3, i % 3, 0.9, 0.1) for i in range(12)]
    return [*rows[:4], rows[4]._replace(image="1/<b>.jpg", prediction=2, loss=2.5), *rows[5:]]


@pytest.fixture
def retrained(tmp_path):
    """A retraining that was tested, with classes of names that are no HTML."""
    run = recorded(tmp_path, "retrain")
    test = json.loads((run / "test.json").read_text())
    (run / "test.json").write_text(json.dumps({**test, "classes": CLASSES}))
    write_predictions(run / "predictions.csv", predictions())
    picture = Image.fromarray(np.full((8, 8, 3), 200, np.uint8))
    write_worst(run / "figures" / "worst.png", [(4, picture), (0, picture)])
    return run


def page_of(run: Path) -> Page:
    return Page(write_report(run).read_text())


@pytest.mark.parametrize("name", ["macs", "table", "three"])
def test_a_search_is_told_by_its_files(tmp_path, name):
    run = recorded(tmp_path, name)
    (run / "figures").mkdir()
    for figure in ("pareto", "entropy", "more"):
        Image.new("RGB", (4, 4)).save(run / "figures" / f"{figure}.png")
    page = page_of(run)
    archs = {path.stem: json.loads(path.read_text()) for path in run.glob("arch*.json")}
    for stem, arch in archs.items():
        words = page.words[stem.replace("arch", "choice")]
        assert f"{arch['params']:,}" in words
        assert f"{arch['accuracy']:.2%}" in words
        assert f"--model.arch {run / stem}.json" in words
    assert {"alarms", "front", "controller", "cost-of-the-search", "settings"} <= page.words.keys()
    assert ("latency" in page.words) == (next(iter(archs.values()))["unit"] == "ms")
    shown = {one["alt"] for one in page.all("img")}
    assert {"more", "entropy of each kind of decision: 1 is uniform, 0 is decided"} <= shown


def test_a_page_loads_nothing_and_its_links_lead_within_it(retrained):
    page = page_of(retrained)
    assert all(one["src"].startswith("data:image/png;base64,") for one in page.all("img"))
    assert {one["href"][1:] for one in page.all("a")} == {one["id"] for one in page.all("section")}
    assert not page.all("link")
    assert not [one for one in page.all("script") if "src" in one]
    policy = next(one for one in page.all("meta") if one.get("http-equiv"))
    assert policy["content"].startswith("default-src 'none'")


def test_a_retraining_is_told_with_names_of_classes_as_they_are(retrained):
    page = page_of(retrained)
    test = json.loads((retrained / "test.json").read_text())
    assert f"{test['accuracy']:.2%}" in page.words["result"]
    words = page.words["classes"].split()
    # Class 1 has four images, of which three are told; class 2 is named five times.
    place = words.index("<script>alert(1)</script>", words.index("worst"))
    assert words[place + 1 : place + 5] == ["4", "75.0%", "3", "100.0%"]
    assert "1/<b>.jpg" in page.words["worst-images"]
    assert not page.all("script")
    assert not page.all("b")
    assert len(page.all("img")) == 4
    assert {path.name for path in (retrained / "figures").iterdir()} == {
        "confusion.png",
        "training.png",
        "worst.png",
    }


@pytest.mark.parametrize("device", ["the table's own", "another"])
def test_times_are_held_against_the_table_on_its_own_device_alone(tmp_path, device):
    run = recorded(tmp_path, "table")
    arch = json.loads((run / "arch.json").read_text())
    own = device == "the table's own"
    code = json.loads((run / "pareto.json").read_text())["points"][0]["arch"]
    row = {"arch": code, "predicted": 2.0, "measured_ms": 3.0}
    told = {"unit": "ms", "device": arch["device"] if own else device, "networks": [row]}
    (run / "measured.json").write_text(json.dumps(told))
    words = page_of(run).words["latency"]
    assert ("+50.0%" in words) == own
    assert ("timed on another, which the table is not of" in words) != own


def test_a_detector_is_told_by_its_precision_and_its_own_figures(tmp_path):
    figures = {"map": 0.4567, "map_50": 0.8, "map_75": 0.5, "images": 12}
    test = {**figures, "checkpoint": "best.ckpt", "checkpoint_sha256": "0", "arch": "mnasnet_a1"}
    (tmp_path / "test.json").write_text(json.dumps(test))
    (tmp_path / "metrics.csv").write_text("step,train/loss,lr,val/map\n0,9,0.1,\n1,8,0.1,0.25\n")
    (tmp_path / "figures").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "figures" / "boxes.png")
    page = page_of(tmp_path)
    assert "45.67%" in page.words["result"]
    assert "25.00%" in page.words["training"]
    assert [one["alt"] for one in page.all("img")][-1] == "boxes"
    assert "classes" not in page.words


def test_a_training_without_a_row_of_its_own_is_told_by_its_validation(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,val/loss,val/accuracy\n2,2.1,0.25\n5,2.0,0.75\n")
    text = write_report(tmp_path).read_text()
    assert "75.00%, after 6 steps" in text
    assert "trainer.log_every_n_steps" in text


def test_exported_files_have_their_figures_and_lines_that_run_them(retrained):
    spec = dataclasses.asdict(published_spec("mnasnet_small"))
    floats = {"file": "network.onnx", "bytes": 2_500_000, "latency_ms": 0.5, "agreement": 1.0}
    int8 = {"file": "network.int8.onnx", "bytes": 700_000, "accuracy": {"accuracy": 0.5}}
    export = {
        "spec": spec,
        "checked_on": "validation",
        "metadata": {
            "accuracy": {"split": "test", "accuracy": 0.75},
            "input_shape": ["batch", 3, 8, 8],
            "outputs": {"logits": ["batch", "classes"]},
            "classes": CLASSES,
        },
        "formats": {
            "onnx": {**floats, "failure": ""},
            "onnx-int8": {**int8, "failure": "it loses 25 points"},
        },
        "not_written": {"litert": "its converter fails"},
    }
    (retrained / "export.json").write_text(json.dumps(export))
    words = " ".join(page_of(retrained).words["exported-files"].split())
    assert "onnx network.onnx 2.50 0.5 75.00% 100.0% checked" in words
    assert "onnx-int8 network.int8.onnx 0.70 - 50.00% - do not ship" in words
    assert "onnx-int8 failed its check: it loses 25 points" in words
    assert "litert was not written: its converter fails" in words
    assert "float32 (batch, 3, 8, 8), prepared as above; outputs: logits" in words
    assert 'onnxruntime.InferenceSession("network.onnx")' in words
    assert 'InferenceSession("network.int8.onnx")' not in words


def test_a_report_is_made_again_to_the_same_bytes_from_a_copy(retrained, tmp_path):
    first = write_report(retrained).read_bytes()
    copy = Path(shutil.copytree(retrained, tmp_path / "copy" / "retrain"))
    old, new = str(retrained).encode(), str(copy).encode()
    assert write_report(copy).read_bytes().replace(new, old) == first


@pytest.mark.parametrize("broken", ["surrogate.json", "arch.json", "measured.json"])
@pytest.mark.parametrize("text", ["[1]", "{", '{"labels": 1, "networks": [{}]}'])
def test_a_broken_file_costs_its_sections_alone(tmp_path, broken, text):
    run = recorded(tmp_path, "table")
    (run / broken).write_text(text)
    page = page_of(run)
    assert "cannot be shown" in "".join(page.words.values())
    assert "cost-of-the-search" in page.words


def test_a_folder_with_nothing_in_it_is_one_line(tmp_path):
    with pytest.raises(UserError, match="has nothing to report yet"):
        write_report(tmp_path)
    with pytest.raises(UserError, match="no run in"):
        write_report(tmp_path / "none")
    with pytest.raises(SystemExit, match="2"):
        supernet_command.main(["report", "--run", str(tmp_path)])


def test_the_command_says_where_the_report_is(retrained, capsys):
    supernet_command.main(["report", "--run", str(retrained)])
    assert capsys.readouterr().out == f"report: {retrained / 'report.html'}\n"


def test_a_report_that_fails_is_a_warning_and_no_more(retrained, monkeypatch):
    def fail(*_):
        raise RuntimeError("no\nroom")

    lines = []
    monkeypatch.setattr(report, "render", fail)
    report_after(retrained, lines.append)
    (line,) = lines
    assert line.startswith("warning: no report was written (no room)")


@pytest.fixture
def searched(tmp_path):
    """A search that has learned from tunings, with a target of a name that is no HTML."""
    run = recorded(tmp_path, "table")
    front = json.loads((run / "pareto.json").read_text())
    (name,) = front["targets"]
    front["targets"] = {"</script><b>": front["targets"][name]}
    code = front["points"][0]["arch"]
    for point in front["points"]:
        point["chosen"] = ["</script><b>"] if point["chosen"] else []
    (run / "pareto.json").write_text(json.dumps(front))
    known = content()
    for row in (*known["labels"], *known["finalists"]):
        row["arch"] = code
    (run / "surrogate.json").write_text(json.dumps(known))
    return run


def test_the_front_tells_each_network_or_how_to_have_it_told(searched):
    page = page_of(searched)
    if not LIVE:
        assert INSTALL in page.words["front"]
        return
    text = (searched / "report.html").read_text()
    for block in json.loads((searched / "arch.json").read_text())["block_strings"]:
        assert block in text
    assert not page.all("b")


# A browser takes seconds to start, and alone shows whether the page's policy lets its figures be.
@pytest.mark.skipif(not BROWSER, reason="needs chromium or google-chrome")
def test_a_browser_shows_figures_without_a_complaint(searched, retrained):
    for run in (searched, retrained):
        switches = [*SWITCHES, f"--user-data-dir={run.parent / 'browser'}"]
        shot = f"--screenshot={run / 'page.png'}"
        done = subprocess.run(
            [BROWSER, *switches, shot, "--dump-dom", f"file://{write_report(run)}"],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert "CONSOLE" not in done.stderr
        with Image.open(run / "page.png") as picture:
            colours = picture.convert("RGB").resize((250, 750)).getcolors(200_000)
        assert len(colours) > 50
        if run is searched and LIVE:
            assert 'class="main-svg"' in done.stdout
