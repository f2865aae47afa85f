"""The wheel is the product: built, installed where no checkout is, and run from another folder."""

import os
import site
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("supernet", "search", "retrain")
SHORT_SEARCH = (
    "--trainer.max_steps 24 --model.space.width 0.1 --model.space.base_layers [1,1,1,1,1,1,1]"
    " --model.space.layers [0] --model.space.head 32 --data.resolution 8 --data.batch_size 16"
    " --model.cost macs --model.surrogate.networks 4 --model.surrogate.first 2"
    " --model.surrogate.rounds 2 --model.surrogate.updates 1 --model.final.samples 8"
    " --model.final.candidates 2 --model.final.recalibration_images 64 --model.final.measured 0"
    " --wandb.mode disabled"
)


def done(*words, **settings):
    """What a program prints that ends well."""
    line = [str(word) for word in words]
    return subprocess.run(line, check=True, capture_output=True, text=True, **settings).stdout


def shipped_files():
    """Files of the repository that are the program's, by their paths there."""
    listed = done("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    files = [name for name in listed.splitlines() if (ROOT / name).is_file()]
    return [name for name in files if name.split("/")[0] in (*PACKAGES, "configs")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of the program, built without a look at any index."""
    copy, folder = (tmp_path_factory.mktemp(name) for name in ("copy", "wheel"))
    for name in (*shipped_files(), "pyproject.toml", "README.md", "LICENSE"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps"]
    done(*build, "--no-build-isolation", "--wheel-dir", folder, copy)
    (path,) = folder.iterdir()
    return path


def test_the_wheel_holds_packages_and_configs_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {name.replace("configs/", "supernet/configs/", 1) for name in shipped_files()}
    assert {f"{package}/py.typed" for package in PACKAGES} <= held


@pytest.fixture(scope="module")
def bin_folder(wheel, tmp_path_factory):
    """Programs of an environment that holds the wheel, and sees what else this one has."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    # The packages alone: a .pth file of theirs, such as that of a checkout, is not read again.
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()))
    install = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install"]
    done(*install, "--quiet", "--no-index", "--no-deps", "--ignore-installed", wheel)
    return folder / "bin"


@pytest.mark.slow
def test_a_search_by_the_console_command_from_another_folder(bin_folder, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def mnasnet(*words):
        return done(bin_folder / "mnasnet", *words, cwd=tmp_path, env=environment)

    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert mnasnet("--version").startswith(f"mnasnet-search {version}, torch ")
    where = "import supernet, search, retrain; print(supernet.__file__)"
    found = done(bin_folder / "python", "-c", where, cwd=tmp_path, env=environment)
    assert Path(found).is_relative_to(bin_folder.parent)
    line = ("search", "-c", "digits/search", "--run", "found", *SHORT_SEARCH.split())
    mnasnet(*line, "--dry_run")
    assert not (tmp_path / "found").exists()
    mnasnet(*line)
    assert "stem" in mnasnet("show", "found/arch.json")
    assert "spaces/paper" in mnasnet("size", "spaces/paper")
    net = ("--model.arch", "found/arch.json", "--data.resolution", "8", "--wandb.mode", "disabled")
    mnasnet("retrain", "-c", "digits/retrain", "--run", "net", *net, "--trainer.max_epochs", "1")
    assert "accuracy" in mnasnet("test", "--run", "net")
    mnasnet("export", "--run", "net", "--formats", "onnx")
    assert (tmp_path / "net" / "network.onnx").exists()
