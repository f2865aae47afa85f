"""Configs that ship with the program, which any folder has by name: ``digits/search``. No torch.

They lie in ``configs/`` of a checkout, and in a wheel within the package, see pyproject.toml.
"""

from difflib import SequenceMatcher
from functools import cache
from pathlib import Path

from supernet.errors import UserError

PLACES = (Path(__file__).parents[1] / "configs", Path(__file__).parents[2] / "configs")
"""In a wheel, and in a checkout."""
SWEEPS = "sweeps"
"""Folder of files for W&B, which are no configs."""
MOST_NAMED = 6
"""Names that an error lists."""


@cache
def shipped_configs() -> dict[str, Path]:
    """The files of the shipped configs by name: a path without ``configs/`` and ``.yaml``.

    Examples:
        >>> shipped_configs()["digits/search"].name
        'search.yaml'
    """
    folder = next((place for place in PLACES if place.is_dir()), PLACES[-1])
    files = sorted(file for file in folder.glob("*/*.yaml") if file.parent.name != SWEEPS)
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}


def config_file(text: str, folder: Path = Path()) -> Path:
    """A file of one's own, or the shipped config of a name.

    The name may be written as the path that it has in a checkout, ``configs/digits/search.yaml``.
    ``folder`` is that from which a path of one's own leads.

    Raises:
        UserError: with the names of shipped configs, the closest first.

    Examples:
        >>> config_file("digits/search").name
        'search.yaml'
        >>> config_file("digits/serch")
        Traceback (most recent call last):
            ...
        supernet.errors.UserError: digits/serch is no file, ... closest are digits/search, ...
    """
    if _is_there(text, folder):
        return Path(text)
    name = text.removeprefix("configs/").removesuffix(".yaml")
    found = shipped_configs().get(name)
    if found is None:
        raise UserError(
            f"{text} is no file, and no config of that name ships; closest are {closest(name)}"
        )
    return found


def _is_there(text: str, folder: Path) -> bool:
    try:
        return (folder / Path(text).expanduser()).exists()
    except (OSError, ValueError, RuntimeError):  # too long, a null byte, nobody's home
        return False


def closest(name: str) -> str:
    """Names of shipped configs, those first that look most like ``name``."""

    def likeness(other: str) -> float:
        return SequenceMatcher(a=name, b=other).ratio()

    names = sorted(shipped_configs(), key=likeness, reverse=True)
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" (and {more} more)" if more > 0 else "")
