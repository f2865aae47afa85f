"""The report of a run: which sections it has, its file, and the command that makes it again."""

from collections.abc import Callable, Iterator
from pathlib import Path

from supernet.errors import UserError, one_line
from supernet.files.writing import write_atomic
from supernet.report import comparison_sections, export_sections, search_sections, training_sections
from supernet.report.page import Code, Section, render
from supernet.report.run_files import RunFiles

REPORT = "report.html"
BROKEN = (UserError, ValueError, KeyError, TypeError, AttributeError, IndexError, OSError)
"""What a file that was changed, or is half copied, may raise in the section that reads it."""
SECTIONS: tuple[Callable[[RunFiles], Iterator[Section]], ...] = (
    search_sections.alarms,
    search_sections.choices,
    search_sections.front,
    search_sections.controller,
    search_sections.surrogate,
    search_sections.latency,
    search_sections.spending,
    training_sections.result,
    export_sections.network,
    training_sections.training,
    training_sections.judged,
    export_sections.exported,
    comparison_sections.compared,
)
"""Sections in their order; each gives none where its files are not there."""
SHOWN = {"pareto.png", "progress.png", "entropy.png", "loss.png", "surrogate.png", "worst.png"}
SHOWN |= {"training.png", "confusion.png"}


def write_report(run: Path) -> Path:
    """Write ``report.html`` of the run in a folder, from its files alone; its path.

    Raises:
        UserError: when the folder has nothing to report, or cannot be written.
    """
    if not run.is_dir():
        raise UserError(f"no run in {run}: name the folder of a search or of a retraining")
    files = RunFiles(run)
    sections = [section for make in SECTIONS for section in _made(make, files)]
    if not sections:
        raise UserError(
            f"{run} has nothing to report yet: a search writes its files at its end, a retraining"
            " from its first validation on, rank, compare and paper at their"
            " end; or name another folder"
        )
    sections += [*_made(_others, files), *_made(_settings, files)]
    origin = f"made from the files of {run} alone; mnasnet report --run {run}"
    path = run / REPORT
    title = f"{run.resolve().name}: report of a run"
    write_atomic(path, render(title, origin, sections).encode())
    return path


def _made(make: Callable[[RunFiles], Iterator[Section]], files: RunFiles) -> list[Section]:
    """The sections of one kind; of a file that cannot be used, its name and why."""
    made = []
    try:
        for section in make(files):
            made.append(section)  # noqa: PERF402 - those before a broken one stay
    except BROKEN as error:
        words = one_line(error) if isinstance(error, UserError) else repr(error)
        made.append(Section(make.__name__.strip("_"), alarms=[f"cannot be shown: {words}"]))
    return made


def _others(files: RunFiles) -> Iterator[Section]:
    """Figures that no section has shown, such as a detector's boxes."""
    archs = files.folder.glob("arch*.json")
    shown = SHOWN | {f"network{path.stem.removeprefix('arch')}.png" for path in archs}
    if pictures := files.other_figures(shown):
        yield Section("More figures", pictures=pictures)


def _settings(files: RunFiles) -> Iterator[Section]:
    """The settings of the run."""
    if text := files.text("config.yaml"):
        yield Section("Settings", code=[Code("config.yaml", text, folded=True)])


def report_after(run: Path, tell: Callable[[str], None]) -> None:
    """Write the report of a run that has ended, and tell where it is; it ends with no error."""
    try:
        tell(f"report: {write_report(run)}")
    except Exception as error:  # noqa: BLE001 - what has been found must not be lost to its page
        tell(f"warning: no report was written ({one_line(error)}): mnasnet report")
