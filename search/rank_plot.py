"""Draws stand-alone accuracy against a score."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from search.rank_statistics import Yardstick
from supernet.plots import INK, MUTED, new_figure, style_axes

_BANDS = LinearSegmentedColormap.from_list("bands", ["#D9963B", "#4B8B6F", "#2F5D92"])


def draw_ranking(
    yardstick: Yardstick, score: np.ndarray, name: str, bands: list[str], note: str
) -> Figure:
    """Mean test accuracy of each network's trainings against its score.

    Args:
        yardstick: the trainings.
        score: (N,).
        name: of the score, for the axis.
        bands: a label for each band of cost.
        note: at the right end of the title's line.
    """
    figure = new_figure(7.6, 5.4)
    axes = figure.add_axes((0.1, 0.115, 0.87, 0.735))
    style_axes(axes, "Trained alone, against the score", name, "test accuracy", title_pad=34)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    seeds = yardstick.runs.shape[1]
    errors = yardstick.runs.std(1, ddof=1) / np.sqrt(seeds) if seeds > 1 else None
    for number, label in enumerate(bands):
        chosen = yardstick.bands == number
        axes.errorbar(
            score[chosen], yardstick.truth[chosen],
            yerr=None if errors is None else errors[chosen], fmt="o", markersize=5.5,
            color=_BANDS(number / max(1, len(bands) - 1)), elinewidth=0.9, markeredgecolor="white",
            markeredgewidth=0.6, label=label,
        )  # fmt: skip
    axes.annotate(note, (1, 1), (0, 34), xycoords="axes fraction", textcoords="offset points",
                  ha="right", fontsize=8.5, color=MUTED)  # fmt: skip
    axes.legend(loc="lower left", bbox_to_anchor=(-0.015, 1.0), ncols=4, frameon=False,
                fontsize=9, labelcolor=INK, handletextpad=0.3, columnspacing=1.6)  # fmt: skip
    return figure
