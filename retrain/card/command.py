"""``mnasnet card --run runs/NAME --license apache-2.0``: a network for a hub.

Makes a folder that timm loads (``local-dir:FOLDER``) and that is a repository of the Hugging Face
hub as it stands: model card, config.json, weights, metadata with the preprocessing, arch.json,
figures, exported files. ``--push OWNER/NAME`` uploads it.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from retrain.card.contents import read_contents
from retrain.card.hub_folder import write_folder
from supernet.command.arguments import Parser
from supernet.command.output import say
from supernet.errors import UserError, one_line
from supernet.files.locking import locked

OTHER = "other"
"""Licence that no identifier names; then its text must be there."""
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


def push(folder: Path, names: Sequence[str], repository: str, private: bool) -> str:
    """Upload files of a folder to a repository of the hub, which is made where it is missing.

    Returns:
        The repository's address.

    Raises:
        UserError: when the hub is not reached, knows no account here, or refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="mnasnet-search")
    try:
        made = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            allow_patterns=list(names),
            commit_message="Upload the network and its card",
        )
    except Exception as error:  # noqa: BLE001 - errors of the hub and its transports share no base
        raise UserError(
            f"cannot push to {repository} ({type(error).__name__}: {one_line(error)[:150]}):"
            f" {folder} is whole; log in with `hf auth login`, then run the same command again"
        ) from None
    return str(made)


def _check_licence(license_id: str, text: Path | None) -> None:
    if not _LICENCE.fullmatch(license_id):
        raise UserError(
            f"--license is {license_id!r}, it must be an identifier of the hub such as apache-2.0,"
            " mit, cc-by-4.0 or other"
        )
    if license_id == OTHER and text is None:
        raise UserError("--license other needs its text: give --license_file FILE")
    if text is not None and not text.is_file():
        raise UserError(f"--license_file {text} is no file")


def main(arguments: Sequence[str] | None = None) -> None:
    """Make a run's hub folder; push it where a repository is named."""
    parser = Parser(prog="python -m retrain.card", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a retraining")
    parser.add_argument(
        "--license", required=True, help="licence of the weights: apache-2.0, mit, other ..."
    )
    parser.add_argument(
        "--license_file", type=Path, metavar="FILE", help="file with the licence's text"
    )
    parser.add_argument(
        "--checkpoint", default="best", help="weights: best, last or a file, as exported"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder of the card, RUN/card by default"
    )
    parser.add_argument("--name", default="", help="name of the network; the run's by default")
    parser.add_argument(
        "--data_name", default="", help="name of the data; the datamodule's by default"
    )
    parser.add_argument(
        "--push", default="", metavar="OWNER/NAME", help="repository of a hub to upload it to"
    )
    parser.add_argument("--private", action="store_true", help="make that repository private")
    options = parser.parse_args(arguments)
    _check_licence(options.license, options.license_file)
    with locked(options.run):
        contents = read_contents(options.run, options.checkpoint, options.name, options.data_name)
        folder = options.out or options.run / "card"
        source = f"hf-hub:{options.push}" if options.push else f"local-dir:{folder}"
        names = write_folder(contents, folder, options.license, options.license_file, source)
        say(f"{folder}: {', '.join(names)}")
        if options.push:
            say(f"pushed to {push(folder, names, options.push, options.private)}")
