"""Search from Python: ``search(data, run)`` does what ``mnasnet search`` does."""

from dataclasses import dataclass
from pathlib import Path

from search.cli import SearchCLI, search_callbacks
from search.module import SearchModule
from search.objective.targets import file_names
from supernet.arch_file import ArchFile, read_arch
from supernet.run.calls import Data, Settings, fit_words, run_words


@dataclass(frozen=True)
class Found:
    """What a search has found."""

    run: Path
    """Folder of the search: report.html, figures, metrics, and all else that it wrote."""
    files: dict[str, Path]
    """The arch.json of each target, by its name, such as ``p40``."""

    @property
    def file(self) -> Path:
        """The arch.json of the first target, which is what a retraining takes."""
        return next(iter(self.files.values()))

    @property
    def arch(self) -> ArchFile:
        """Its content: architecture, cost as predicted and measured, accuracy."""
        return read_arch(self.file)


def search(
    data: Data,
    run: str | Path,
    *,
    config: str | Path | None = "photos/search",
    target: str | float | list[str | float] | None = None,
    settings: Settings | None = None,
) -> Found:
    """Search a network for images and a device, in this process.

    A search that is there is continued, and one that has ended returns what it found.

    Args:
        data: a folder with a subfolder of images for each class, a datamodule's class, or a
            datamodule that has called ``save_hyperparameters``.
        run: folder of the search.
        config: a yaml file or a shipped config by its name; None for the settings alone.
        target: upper limit of the cost: ms, ``p40`` (quantile of the space), ``0.8x mnasnet_a1``,
            or several of these; that of the config if None.
        settings: any other option of the command by its name, ``{"trainer.max_steps": 600}``.

    Returns:
        Where the run and its networks are.

    Raises:
        UserError: one line that says which value is wrong and what would do.

    Examples:
        >>> found = search("photos/", "runs/search", target="p40")  # doctest: +SKIP
        >>> found.arch.predicted  # doctest: +SKIP
        11.8
    """
    given = {**({} if target is None else {"model.target": target}), **(settings or {})}
    words = fit_words(run_words(config, run, data, given))
    command = SearchCLI(SearchModule, "search", search_callbacks, args=words)
    names = [one.name for one in command.model.objective.targets]
    files = file_names(names, "arch", ".json")
    folder = command.folder
    return Found(folder, {name: folder / file for name, file in zip(names, files, strict=True)})
