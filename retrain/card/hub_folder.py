"""Hub folder: the files by which timm and a hub know a network, written whole."""

import dataclasses
import json
import shutil
import tempfile
from pathlib import Path

import timm
from timm.models import save_for_hf

import supernet.timm_models  # noqa: F401  registers the model
from retrain.card.contents import Contents
from retrain.card.text import card_text
from supernet.errors import UserError
from supernet.files.writing import AGAIN, put_in_place

MARK = "metadata.json"
"""File by which a folder that was made here is known."""
CARD, WEIGHTS, LICENCE = "README.md", "model.safetensors", "LICENSE"
REPLACED = ("network.*", "figures/*.png", "arch.json", LICENCE)
"""Files of an earlier card that go when the new one lacks them."""


def write_folder(
    contents: Contents, folder: Path, license_id: str, licence: Path | None, source: str
) -> list[str]:
    """Write the card, config.json, weights, metadata, arch.json, figures and exported files.

    Args:
        contents: of the run.
        folder: made if it is missing; one that was made here before is brought up to date.
        license_id: Hugging Face's identifier of the licence.
        licence: its text.
        source: by which timm loads the network.

    Returns:
        Names of all files, relative to the folder.

    Raises:
        UserError: when the folder is the user's own or cannot be written.
    """
    _check_own(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(".tmp", ".card.", folder) as temporary:
            made = Path(temporary)
            _fill(made, contents, license_id, licence, source)
            names = sorted(str(one.relative_to(made)) for one in made.rglob("*") if one.is_file())
            _take_over(made, folder, names)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}; {AGAIN}") from None
    return names


def _check_own(folder: Path) -> None:
    held = [one for one in folder.iterdir() if one.name != ".git"] if folder.is_dir() else []
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is no folder: name another --out")
    if held and not (folder / MARK).is_file():
        raise UserError(
            f"{folder} holds {held[0].name}, and no card that was made here: name another --out"
        )


def _fill(
    made: Path, contents: Contents, license_id: str, licence: Path | None, source: str
) -> None:
    _save_for_timm(made, contents)
    (made / CARD).write_text(card_text(contents, license_id, source), encoding="utf-8")
    # timm's writer keeps the weights from other users.
    (made / WEIGHTS).chmod((made / CARD).stat().st_mode)
    text = json.dumps(contents.metadata, indent=2, ensure_ascii=False)
    (made / MARK).write_text(text + "\n", encoding="utf-8")
    (made / "figures").mkdir()
    copies = {one.path: one.path.name for one in contents.files}
    copies |= {one: f"figures/{one.name}" for one in contents.figures}
    copies |= {contents.arch: "arch.json"} if contents.arch else {}
    copies |= {licence: LICENCE} if licence else {}
    for path, name in copies.items():
        copy = shutil.copytree if path.is_dir() else shutil.copyfile
        copy(path, made / name)


def _save_for_timm(made: Path, contents: Contents) -> None:
    """config.json and weights as timm writes them; the architecture travels in config.json."""
    checkpoint = str(contents.checkpoint)
    network = timm.create_model("mnasnet_searched", arch=checkpoint, pretrained=True)
    spec = dataclasses.asdict(contents.trained.spec)
    save_for_hf(network, str(made), model_args={"arch": spec}, safe_serialization=True)


def _take_over(made: Path, folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        put_in_place(made / name, folder / name)
    for pattern in REPLACED:
        for path in folder.glob(pattern):
            own = str(path.relative_to(folder))
            if not any(name == own or name.startswith(f"{own}/") for name in names):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
