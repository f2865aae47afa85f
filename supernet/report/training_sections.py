"""What a report says of a retraining: result, training, test, worst images."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from matplotlib.figure import Figure

from supernet.arch_records import Chance
from supernet.display.figures import png_of
from supernet.files.writing import write_atomic
from supernet.report.page import PageTable, Picture, Section
from supernet.report.predictions import (
    PREDICTIONS,
    WORST,
    Confusion,
    Prediction,
    read_predictions,
    read_worst,
)
from supernet.report.run_files import RunFiles
from supernet.report.training_figures import (
    FIGURE_NAMES,
    TRAINING,
    best_of,
    draw_confusion,
    draw_training,
    judged_by,
)

MOST_DRAWN = 1000
"""Classes of a confusion matrix that is drawn."""
MOST_PAIRS, MOST_OPEN = 10, 30
"""Pairs of classes that are listed; classes up to which their table is open."""
WORDS = {
    "accuracy": "test accuracy",
    "loss": "test loss",
    "map": "average precision, IoU 0.50 to 0.95",
    "map_50": "average precision, IoU 0.50",
    "map_75": "average precision, IoU 0.75",
    "answered": "answered, above the threshold",
    "answered_accuracy": "accuracy of what is answered",
    "majority_share": "share of the most frequent class",
}
"""Figures of test.json in words."""


def result(files: RunFiles) -> Iterator[Section]:
    """What the test gave."""
    test = files.values("test.json")
    if not test:
        return
    chance = Chance.of_figures(test)
    facts = [(words, _figure(name, test[name])) for name, words in WORDS.items() if name in test]
    facts += [("test images", f"{test['images']:,}"), ("architecture", str(test["arch"]))]
    facts.append(("weights", str(test["checkpoint"])))
    alarms = [chance.words(test["accuracy"])] if chance and chance.alarm else []
    notes = ["The test images are read once, at the end: no choice was made by them."]
    yield Section("Result", alarms=alarms, facts=facts, notes=notes)


def _figure(name: str, value: float) -> str:
    return f"{value:.4f} nats" if name == "loss" else f"{value:.2%}"


def training(files: RunFiles) -> Iterator[Section]:
    """Curves of a training."""
    metrics = files.metrics(*TRAINING)
    score, has_curves = judged_by(metrics), {"lr", "train/loss"} <= metrics.keys()
    if not score and not has_curves:  # a search has curves of its own
        return
    facts, pictures, notes = [], [], []
    if score:
        step, value = best_of(metrics, score)
        words = f"best validation {FIGURE_NAMES[score]}"
        facts.append((words, f"{value:.2%}, after {step + 1:,} steps"))  # counted from 0
    if has_curves:
        words = "loss, validation and learning rate by step"
        pictures.append(_drawn(files, "training.png", words, lambda: draw_training(metrics)))
    else:
        notes.append(
            "It has fewer steps than trainer.log_every_n_steps, so that there is no curve."
        )
    yield Section("Training", facts=facts, pictures=pictures, notes=notes)


def _drawn(files: RunFiles, name: str, words: str, draw: Callable[[], Figure]) -> Picture:
    """A figure that the report draws itself, and keeps beside the others."""
    png = png_of(draw())
    (files.folder / "figures").mkdir(exist_ok=True)
    write_atomic(files.folder / "figures" / name, png)
    return Picture(png, words)


def judged(files: RunFiles) -> Iterator[Section]:
    """Confusion of the test images, and each class."""
    if not files.has(PREDICTIONS):
        return
    rows = read_predictions(files.folder / PREDICTIONS)
    classes = _classes(files, rows)
    confusion = Confusion(rows, len(classes))
    pictures = []
    if len(classes) <= MOST_DRAWN:
        words = "test images: true classes in rows, predicted ones in columns"
        figure = _drawn(files, "confusion.png", words, lambda: draw_confusion(confusion, classes))
        pictures.append(figure)
    tables = [_class_table(confusion, classes)]
    if pairs := _pair_table(confusion, classes):
        tables.insert(0, pairs)
    yield Section("Classes", pictures=pictures, tables=tables)
    yield from _worst(files, rows, classes)


def _classes(files: RunFiles, rows: Sequence[Prediction]) -> list[str]:
    """Names of the classes, as the test or the export tells them, else numbers."""
    told: Any = files.values("test.json").get("classes")
    if isinstance(told, list) and told:
        return [str(name) for name in told]
    most = max((max(row.label, row.prediction) for row in rows), default=0)
    return [str(number) for number in range(most + 1)]


def _class_table(confusion: Confusion, classes: Sequence[str]) -> PageTable:
    """A row for each class, the worst first."""
    header = ("class", "images", "accuracy", "named", "of these right")
    order = sorted(confusion.images, key=lambda label: (confusion.accuracy(label), label))
    rows = []
    for label in order:
        right, named = confusion.pairs[label, label], confusion.named[label]
        share = f"{right / named:.1%}" if named else "-"
        accuracy = f"{confusion.accuracy(label):.1%}"
        rows.append([classes[label], f"{confusion.images[label]:,}", accuracy, f"{named:,}", share])
    folded = len(rows) > MOST_OPEN
    return PageTable("each class, the worst first", header, rows, ("class",), folded)


def _pair_table(confusion: Confusion, classes: Sequence[str]) -> PageTable | None:
    """The pairs that are most often confused; None where nothing was."""
    wrong = confusion.wrong[:MOST_PAIRS]
    header = ("true class", "taken for", "images", "of its class")
    rows = [
        [classes[true], classes[named], f"{images:,}", f"{images / confusion.images[true]:.1%}"]
        for (true, named), images in wrong
    ]
    return PageTable("most often confused", header, rows, header[:2]) if rows else None


def _worst(
    files: RunFiles, rows: Sequence[Prediction], classes: Sequence[str]
) -> Iterator[Section]:
    """The images of the highest loss."""
    told = {row.number: row for row in rows}
    images = read_worst(files.folder / "figures" / WORST)
    cards = [
        Picture(png, _card(told[number], classes))
        for number, png in images.items()
        if number in told
    ]
    if cards:
        notes = [f"Test images of the highest loss; all are in {PREDICTIONS}."]
        yield Section("Worst images", cards=cards, notes=notes)


def _card(row: Prediction, classes: Sequence[str]) -> str:
    true, said = classes[row.label], classes[row.prediction]
    image = row.image or f"number {row.number}"
    verdict = f"{true}, taken for {said}" if true != said else f"{true}, right"
    return f"{verdict} ({row.probability:.0%}); {image}"
