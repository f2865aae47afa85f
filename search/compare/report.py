"""What a comparison found, as figures and tables."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from search.compare.retrained import COST_DISTANCE, ChoiceResult
from search.controllers.settings import Kind
from search.evaluation.estimates import Cell, Estimate, Mean, TextTable, cell
from search.evaluation.jobs import Row
from search.evaluation.power import OFTEN, is_told, needed
from search.figures import smooth
from supernet.display.figures import (
    ACCENT,
    COSTS,
    FAINT,
    MUTED,
    legend_above,
    new_figure,
    percent,
    short_count,
    style_axes,
)

COLORS: dict[Kind, str] = {
    "ppo": "#C2410C",
    "reinforce": "#B7862B",
    "tunas": "#2F5D92",
    "cost_gradient": "#7A5BA6",
    "evolution": "#4B8B6F",
    "random": "#5F6B78",
}
BASELINE: Kind = "random"
_WIDTH, _PANEL, _ROW, _ENDS = 10.0, 4.3, 0.42, 1.5
"""Inches: of the page, of the panels of a supernet, of a retrained choice, of titles and axes."""

TrialRows = Mapping[Kind, Sequence[Row]]
"""Trials on one supernet by controller, one row for each seed, with the same seeds in turn."""


def draw_comparison(trials: Sequence[TrialRows], results: Sequence[ChoiceResult]) -> Figure:
    """Rewards and fronts on each supernet, and the accuracies of retrained networks."""
    heights = [_PANEL] * len(trials)
    heights += [_ENDS + _ROW * len(results)] * bool(results)
    figure = new_figure(_WIDTH, sum(heights))
    bands = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for number, rows in enumerate(trials):
        left, right = bands[number].subplots(1, 2)
        bands[number].subplots_adjust(left=0.08, right=0.98, top=0.8, bottom=0.14, wspace=0.24)
        title = f", supernet {number + 1}" if len(trials) > 1 else ""
        draw_rewards(left, rows, title)
        draw_fronts(right, rows)
        legend_above(left, 6, at=(-0.02, 1.1), handlelength=1.4, columnspacing=1.4)
    if results:
        axes = bands[-1].subplots()
        edge = 1 / heights[-1]
        bands[-1].subplots_adjust(left=0.24, right=0.98, top=1 - 0.8 * edge, bottom=0.6 * edge)
        draw_retrained(axes, results)
    return figure


def draw_rewards(axes: Axes, rows: TrialRows, title: str) -> None:
    """Mean reward of what was proposed, against evaluations: mean over seeds and its interval."""
    style_axes(axes, f"Reward of the proposals{title}", "evaluations", "", title_pad=6)
    drawn = []
    for kind, own in rows.items():
        curves = np.array([row["mean_rewards"] for row in own])
        window = max(1, curves.shape[1] // 20)
        curves = np.array([smooth(curve, window) for curve in curves])
        steps = (np.arange(curves.shape[1]) + 1) * own[0]["evaluations"] / curves.shape[1]
        draw_band(axes, kind, steps, curves)
        drawn.append(curves)
    _fit(axes, drawn)
    axes.margins(x=0.01)
    axes.yaxis.set_major_locator(MaxNLocator(5))


def draw_fronts(axes: Axes, rows: TrialRows) -> None:
    """The best accuracy, re-scored, up to each cost: mean over seeds and its interval."""
    first = next(iter(rows.values()))[0]
    scale, noun, suffix = COSTS[first["unit"]]
    axes.axvline(first["target"] / scale, color=ACCENT, linewidth=1.2, linestyle=(0, (5, 3)))
    style_axes(
        axes, "Fronts of what was evaluated, re-scored", f"{noun} ({suffix})", "", title_pad=6
    )
    axes.yaxis.set_major_formatter(percent)
    fronts = {kind: [np.array(row["front"]) for row in own] for kind, own in rows.items()}
    ends = np.concatenate([front[:, 0] for own in fronts.values() for front in own])
    costs, drawn = np.linspace(ends.min(), ends.max(), 200), []
    for kind, own in fronts.items():
        reached = np.array([_reached(front, costs) for front in own])
        draw_band(axes, kind, costs / scale, reached)
        drawn.append(reached)
    _fit(axes, drawn)


def _fit(axes: Axes, drawn: Sequence[np.ndarray]) -> None:
    """Show all seeds' curves (S, P) whole; of two or three seeds the intervals go far beyond."""
    values = np.concatenate([curves.ravel() for curves in drawn])
    low, high = np.nanmin(values), np.nanmax(values)
    margin = 0.08 * (high - low) or 0.01
    axes.set_ylim(low - margin, high + margin)


def _reached(front: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Accuracy that a front (P, 2) of rising costs has reached at each cost; NaN below it."""
    place = np.searchsorted(front[:, 0], costs, side="right") - 1
    return np.where(place >= 0, front[np.maximum(place, 0), 1], np.nan)


def _intervals(values: Iterable[Sequence[float]]) -> np.ndarray:
    """Mean, lower and upper limit of each set of values, (P, 3)."""
    return np.array([astuple(Mean.of(some).estimate) for some in values]).reshape(-1, 3)


def draw_band(axes: Axes, kind: Kind, places: np.ndarray, curves: np.ndarray) -> None:
    """Mean of curves (S, P) where all are known, with its interval if there are several."""
    known = ~np.isnan(curves).any(axis=0)
    places, color = places[known], COLORS[kind]
    mean, low, high = _intervals(curves[:, known].T).T
    style = (0, (4, 2)) if kind == BASELINE else "-"
    axes.plot(places, mean, color=color, linewidth=1.8, linestyle=style, label=kind)
    axes.fill_between(places, low, high, color=color, alpha=0.14, linewidth=0)


def draw_retrained(axes: Axes, results: Sequence[ChoiceResult]) -> None:
    """Test accuracies: random networks, the best of them, and the choice, with intervals."""
    style_axes(axes, "Trained from scratch", "test accuracy", "", title_pad=26)
    axes.xaxis.set_major_formatter(percent)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=FAINT, linewidth=0.8)
    places = np.arange(len(results))
    accuracies = np.concatenate([one.random for one in results])
    rows = places.repeat([len(one.random) for one in results])
    axes.scatter(accuracies, rows, s=22, color="#B8C1CA", linewidths=0, label="random, same cost")
    for shift, name, color, runs in (
        (0.16, "best of them, fresh seeds", MUTED, [one.best for one in results]),
        (-0.16, "choice, fresh seeds", ACCENT, [one.found for one in results]),
    ):
        mean, *limits = _intervals(runs).T
        errors = np.nan_to_num(np.abs(limits - mean))
        axes.errorbar(
            mean,
            places + shift,
            xerr=errors,
            fmt="o",
            ms=6,
            color=color,
            elinewidth=1.6,
            label=name,
        )
    axes.set_yticks(places, [one.choice.name for one in results])
    axes.set_ylim(len(results) - 0.5, -0.5)
    legend_above(axes, 3, at=(-0.01, 1.0), handletextpad=0.3, columnspacing=1.6)


def trial_table(rows: TrialRows) -> TextTable:
    """Controllers on one supernet."""
    return {kind: _trial_row(kind, rows) for kind in rows}


def _trial_row(kind: Kind, rows: TrialRows) -> dict[str, Cell]:
    own = rows[kind]
    row: dict[str, Cell] = {"best reward, %": _percent(own, "best_reward")}
    if BASELINE in rows and kind != BASELINE:
        gains = [
            one["best_reward"] - two["best_reward"]
            for one, two in zip(own, rows[BASELINE], strict=True)
        ]
        row["less random"] = Mean.of(gains).estimate * 100
        row["beats it"] = f"{sum(gain > 0 for gain in gains)} of {len(gains)}"
    shares = [one["controller_seconds"] / one["seconds"] for one in own]
    return row | {
        "hypervolume, %": _percent(own, "hypervolume"),
        "within target": f"{Mean.of([one['within_target'] for one in own]).value:.0%}",
        "networks met": f"{Mean.of([one['networks'] for one in own]).value:.0f}",
        "controller's time": f"{Mean.of(shares).value:.1%}",
    }


def _percent(rows: Sequence[Row], name: str) -> Estimate:
    return Mean.of([row[name] for row in rows]).estimate * 100


def trial_facts(rows: Sequence[Row], top: int) -> list[str]:
    """Lines that say how the trials on one supernet were held."""
    first = rows[0]
    cost, accuracy = first["reference"]
    unit, number = first["unit"], first["evaluations"]
    held = f"target {_cost(first['target'], unit)}; {number} evaluations a trial"
    scored = f"{top} networks by a controller's own knowledge, half its favourites, half those"
    point = f"reference point {_cost(cost, unit)} (the costliest network), accuracy {accuracy:.3g}"
    return [
        f"{held}: one architecture on one reward batch, on batch statistics",
        f"re-scored: {scored} of best mean reward; recalibrated, on all validation images",
        f"hypervolume: of the front of all evaluated networks, re-scored, over the most; {point}",
    ]


def retrained_tables(results: Sequence[ChoiceResult]) -> dict[str, TextTable]:
    """Choices against random networks, each alone, pooled, and what they cost."""
    groups = defaultdict(list)
    for one in results:
        groups[one.choice.group].append(one)
    pooled = {group: some for group, some in groups.items() if len(some) > 1}
    tables = {
        "test accuracy, %": {one.choice.name: _accuracies(one) for one in results},
        "pooled, %": {group: _pooled(some) for group, some in pooled.items()},
        "network": {one.choice.name: _network(one) for one in results},
    }
    return {title: table for title, table in tables.items() if table}


def _accuracies(one: ChoiceResult) -> dict[str, Cell]:
    return {
        "choice": _points(Mean.of(one.found)),
        f"mean of {len(one.random)}": _points(Mean.of(one.random)),
        "best of them": _points(Mean.of(one.best)),
        "less mean": _points(one.less_mean),
        "less best": _points(one.less_best),
    }


def _pooled(some: Sequence[ChoiceResult]) -> dict[str, Cell]:
    """Differences of these searches, and of what further searches would find."""
    gains = {"mean": [one.less_mean for one in some], "best": [one.less_best for one in some]}
    row: dict[str, Cell] = {"searches": str(len(some))}
    for name, means in gains.items():
        row[f"less {name}"] = _points(Mean.average(means))
        row[f"less {name}, any search"] = _points(Mean.of([mean.value for mean in means]))
    return row


def _points(mean: Mean) -> Estimate:
    """In percentage points."""
    return mean.estimate * 100


def _network(one: ChoiceResult) -> dict[str, Cell]:
    cost, spent = one.choice.count, one.trainings_spent
    return {
        "cost": _cost(one.choice.cost, one.choice.model.unit),
        "params": short_count(cost.params),
        "MACs": short_count(cost.macs),
        **{
            f"search in trainings, {how}": f"{spent[how]:.2f}" if how in spent else "-"
            for how in ("by MACs", "by seconds")
        },
    }


def retrained_facts(results: Sequence[ChoiceResult]) -> list[str]:
    """Lines that say how networks were compared."""
    picked = "one training each picks the best by validation images"
    fresh = f"it and the choice are trained with {len(results[0].found)} fresh seeds"
    pooled = "of these searches, and of any, where a search is one measurement"
    return [
        f"random networks within {COST_DISTANCE:.0%} of the choice's cost: {picked}; then {fresh}",
        f"less mean: by Welch; less best: paired by seed; pooled: {pooled}; t intervals of 95 %",
    ]


def _cost(value: float, unit: str) -> str:
    return f"{value:.4g} ms" if unit == "ms" else f"{short_count(value)} {unit}"


def conclusion(trials: Iterable[TrialRows], results: Sequence[ChoiceResult]) -> str:
    """What the comparison comes to, in one sentence: of retrained choices, else of trials."""
    groups = defaultdict(list)
    for one in results:
        groups[one.choice.group].append(one)
    if groups:
        name = "searches" if "searches" in groups else next(iter(groups))
        return _choice_sentence(name, groups[name])
    return next((_trial_sentence(rows) for rows in trials if _rivals(rows)), "")


def _choice_sentence(name: str, some: Sequence[ChoiceResult]) -> str:
    """Of the searches of a group, each a measurement; of a single one, of its trainings."""
    beyond = "beyond random networks of {} cost"
    if len(some) > 1:
        gain = Mean.of([one.less_mean.value for one in some])
        what = name if name == "searches" else f"choices of {name}"
        return _sentence(f"{len(some)} {what}", beyond.format("their"), gain, len(some), what)
    one = some[0]
    what = f"the choice of {one.choice.name}"
    return _sentence(what, beyond.format("its"), one.less_mean, 1, "times as many trainings")


def _rivals(rows: TrialRows) -> list[Kind]:
    return [kind for kind in rows if kind != BASELINE and BASELINE in rows]


def _trial_sentence(rows: TrialRows) -> str:
    """Of the first controller beside random search, paired by seed."""
    kind = _rivals(rows)[0]
    pairs = zip(rows[kind], rows[BASELINE], strict=True)
    gain = Mean.of([one["best_reward"] - two["best_reward"] for one, two in pairs])
    seeds = len(rows[kind])
    beyond = "of reward beyond random search"
    return _sentence(f"{seeds} trials of {kind}", beyond, gain, seeds, "trials")


def _sentence(what: str, beyond: str, gain: Mean, number: int, more: str) -> str:
    """A gain in points, and whether 0 is left out, or what would leave it out."""
    estimate = gain.estimate * 100
    text = f"{what}: {cell(estimate)} points {beyond}"
    if math.isnan(gain.variance):
        return f"{text}; of a single one nothing is told, take more seeds"
    if is_told(estimate):
        return f"{text}, {'a gain' if gain.value > 0 else 'a loss'} that is more than chance"
    if not gain.value:
        return f"{text}: they are alike"
    enough = needed(number, gain.value, math.sqrt(gain.variance))
    return f"{text}, which may be chance; {enough:,} {more} would tell it from 0, {OFTEN}"
