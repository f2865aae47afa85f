"""Front of a search as a figure that answers to the mouse: what each network is, and its costs.

Plotly draws it, and its program, 4.8 MB, lies in the page; where it is not installed, the figure
that the search has drawn stands in its place.
"""

import html
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from supernet.cost.counts import count
from supernet.display.figures import ACCENT, COSTS, INK, MUTED, short_count
from supernet.space.mnasnet import MnasSpace

INSTALL = "pip install mnasnet-search[report]"
LIVE = importlib.util.find_spec("plotly") is not None
"""Whether there is what draws it."""
COLORS = {"uniform": "#8FA3B8", "proposed": "#2F5D92"}
BUTTONS = ["toImage", "zoom2d", "pan2d", "resetScale2d"]
"""By default there is one that would send the figure to plotly's own service."""
Row = Mapping[str, Any]


def front_figure(space: MnasSpace, front: Row, surrogate: Row) -> Markup:
    """Accuracy against cost of all that was tuned, judged and chosen, as HTML.

    Args:
        space: of the search.
        front: content of pareto.json.
        surrogate: content of surrogate.json, empty where nothing was tuned to learn from.
    """
    import plotly.io

    unit = front["unit"]
    scale, noun, suffix = COSTS[unit]
    figure = {
        "data": list(_traces(space, front, surrogate)),
        "layout": {
            "xaxis": {"title": {"text": f"{noun} ({suffix})"}},
            "yaxis": {"title": {"text": "accuracy"}, "tickformat": ".1%"},
            "shapes": [_target(cost / scale) for cost in front["targets"].values()],
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
            "margin": {"l": 70, "r": 20, "t": 40, "b": 55},
            "height": 520,
            "plot_bgcolor": "white",
            "hoverlabel": {"align": "left", "font": {"family": "monospace"}},
        },
    }
    text = plotly.io.to_html(
        figure,
        config={"responsive": True, "displaylogo": False, "modeBarButtons": [BUTTONS]},
        include_plotlyjs=True,
        full_html=False,
        div_id="front-figure",
        validate=False,
    )
    return Markup(text)  # plotly escapes what its JSON holds


def _target(at: float) -> dict[str, Any]:
    """A line across the figure."""
    line = {"color": ACCENT, "width": 1.2, "dash": "dash"}
    return {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "line": line}


def _traces(space: MnasSpace, front: Row, surrogate: Row) -> Iterator[dict[str, Any]]:
    """Networks of each kind, the most important last, which lie on top."""
    unit = front["unit"]
    steps, final = surrogate.get("label_steps"), surrogate.get("final_steps")
    for origin, color in COLORS.items():
        rows = [row for row in surrogate.get("labels", []) if row["origin"] == origin]
        style = {"color": color, "size": 7}
        yield _trace(space, unit, f"{origin}, {steps} steps", rows, "accuracy", style)
    rows = surrogate.get("finalists", [])
    style = {"color": "white", "size": 9, "line": {"color": MUTED, "width": 1.2}}
    yield _trace(space, unit, f"finalists, {final} steps", rows, "val_accuracy", style)
    style = {"color": "white", "size": 10, "line": {"color": INK, "width": 2}}
    yield _trace(space, unit, "front", front["points"], "accuracy", style)
    rows = [row for row in front["points"] if row["chosen"]]
    star = {"symbol": "star", "color": ACCENT, "size": 16}
    yield _trace(space, unit, "chosen", rows, "accuracy", star)


def _trace(
    space: MnasSpace, unit: str, name: str, rows: Sequence[Row], score: str, marker: Row
) -> dict[str, Any]:
    """Points of a kind, each of which tells its network."""
    scale = COSTS[unit][0]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [row["cost"] / scale for row in rows],
        "y": [row[score] for row in rows],
        "text": [_words(space, unit, name, row, row[score]) for row in rows],
        "hoverinfo": "text",
        "marker": dict(marker),
        "visible": bool(rows),
    }


def _words(space: MnasSpace, unit: str, name: str, row: Row, accuracy: float) -> str:
    """What a network is: its kind, figures, and blocks in the official grammar."""
    scale, _, suffix = COSTS[unit]
    spec = space.spec(space.decode(tuple(row["arch"])))
    cost = count(spec)
    targets = row["chosen"] if isinstance(row.get("chosen"), list) else []
    title = html.escape(" ".join([name, *map(str, targets)]))
    figures = [
        f"<b>{title}</b>: {accuracy:.1%} at {row['cost'] / scale:.4g} {suffix}",
        f"{short_count(cost.params)} parameters, {short_count(cost.macs)} multiply-adds",
    ]
    return "<br>".join([*figures, *spec.block_strings()])
