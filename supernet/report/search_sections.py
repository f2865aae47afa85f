"""What a report says of a search: choice, front, controller, surrogate, latency and spending."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from rich.table import Table

from supernet.arch_file import ArchFile
from supernet.cost.counts import count
from supernet.display.figures import short_count
from supernet.display.tables import network_table
from supernet.report.front import INSTALL, LIVE, front_figure
from supernet.report.page import Code, PageTable, Section
from supernet.report.run_files import RunFiles
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec

Facts = list[tuple[str, str]]
NEXT_STEP = "next_step.txt"
"""File of a search: the commands that train what it has found, a line for each."""


def alarms(files: RunFiles) -> Iterator[Section]:
    """What the search was unhappy with."""
    told = files.values("alarms.json")
    if told or files.has("pareto.json"):
        raised = [f"{one['seen']}: {one['advice']}" for stage in told.values() for one in stage]
        notes = [] if raised else ["none was raised"] if told else ["none is known of"]
        yield Section("Alarms", alarms=raised, notes=notes)


def choices(files: RunFiles) -> Iterator[Section]:
    """The network of each target."""
    found = files.archs()
    for name, one in found.items():
        title = "Choice" if len(found) == 1 else f"Choice {name.removesuffix('.json')[5:]}"
        figure = f"network{name.removesuffix('.json')[4:]}.png"
        alarms = [one.chance.words(one.accuracy)] if one.chance and one.chance.alarm else []
        yield Section(
            title,
            alarms=alarms,
            facts=[*_choice_facts(one), *_gain(files, name, one)],
            pictures=files.figure(figure, "the network, block by block, and where its cost lies"),
            tables=[network_rows(one.spec)],
            code=[Code("to train it from scratch", _next_command(files, name))],
        )


def _choice_facts(found: ArchFile) -> Facts:
    cost = count(found.spec)
    facts = [
        ("target", f"at most {_amount(found.target, found.unit)}"),
        ("predicted", _amount(found.predicted, found.unit)),
    ]
    if found.measured:
        facts.append(("measured", f"{found.measured.ms:.4g} ms, {found.measured.comparison}"))
    if found.device:
        facts.append(("device", found.device))
    facts += [
        (f"{use.cost}, limited", f"{use.predicted:,.4g}, at most {use.limit:,.4g} allowed")
        for use in found.constraints
    ]
    return [
        *facts,
        ("accuracy in the search", f"{found.accuracy:.2%} of validation images, briefly tuned"),
        ("parameters", f"{cost.params:,}"),
        ("multiply-adds", f"{cost.macs:,}"),
        ("images", f"{found.resolution} px, {found.classes} classes"),
    ]


def _amount(value: float, unit: str) -> str:
    """A cost in words."""
    return f"{value:.4g} ms" if unit == "ms" else f"{short_count(value)} {unit}"


def _gain(files: RunFiles, name: str, found: ArchFile) -> Facts:
    """What the choice is expected to have beyond a random network, in points of accuracy."""
    targets = files.values("pareto.json").get("targets", {})
    surrogate = files.values("surrogate.json").get("expected", {})
    for target, cost in targets.items():
        if cost == found.target and target in surrogate:
            gain = surrogate[target]
            points = [100 * gain[key] for key in ("value", "low", "high")]
            interval = (
                f"{points[0]:+.1f} points, 95 % interval {points[1]:+.1f} to {points[2]:+.1f}"
            )
            after = f"after {gain['steps']} steps; a whole training brings networks nearer"
            return [("expected beyond a random network", f"{interval}, {after}")]
    return []


def network_rows(spec: NetSpec) -> PageTable:
    """The parts of a network, as ``supernet show`` prints them."""
    return page_table(network_table(spec), "the network, part by part", ("part", "op", "skip"))


def page_table(table: Table, caption: str, left: Sequence[str]) -> PageTable:
    """A table of a terminal's on a page."""
    header = [str(column.header) for column in table.columns]
    rows = list(zip(*(map(str, column.cells) for column in table.columns), strict=True))
    footer = [str(column.footer) for column in table.columns]
    return PageTable(caption, header, [*rows[0:], *([footer] if any(footer) else [])], left, True)


def _next_command(files: RunFiles, name: str) -> str:
    """The command that trains a network: the search's own, or one without its config."""
    kept = [line for line in files.text(NEXT_STEP).splitlines() if f"/{name}" in line]
    arch = files.folder / name
    unknown = f"mnasnet retrain -c RETRAIN.yaml --run runs/NAME --model.arch {arch}"
    return kept[0] if kept else f"{unknown}  # RETRAIN.yaml: the config of a retraining"


def front(files: RunFiles) -> Iterator[Section]:
    """Accuracy against cost."""
    points = files.values("pareto.json")
    if not points:
        return
    words = "accuracy against cost: what was tuned, the front, the targets and the choice"
    section = Section("Front", pictures=files.figure("pareto.png", words))
    spaces = [one.space for one in files.archs().values()]
    if LIVE and spaces:
        yield replace(
            section,
            live=front_figure(spaces[0], points, files.values("surrogate.json")),
            pictures=(),
            notes=[
                "Point at a network to see its blocks; drag to enlarge, click twice to go back."
            ],
        )
    else:
        yield replace(section, notes=[f"A figure that tells each network needs `{INSTALL}`."])


def controller(files: RunFiles) -> Iterator[Section]:
    """How the search went."""
    figures = {
        "progress.png": "reward, score and cost of what the controller proposed",
        "entropy.png": "entropy of each kind of decision: 1 is uniform, 0 is decided",
        "loss.png": "loss of the shared weights",
    }
    pictures = [one for name, words in figures.items() for one in files.figure(name, words)]
    if pictures:
        yield Section("Controller", pictures=pictures)


def surrogate(files: RunFiles) -> Iterator[Section]:
    """What was learned from tunings."""
    known = files.values("surrogate.json")
    if not known:
        return
    left_out = known["leave_one_out"]
    finalists = {tuple(one["arch"]) for one in known["finalists"]}  # a row for each target
    facts: Facts = [
        (
            "networks learned from",
            f"{len(known['labels'])}, tuned for {known['label_steps']} steps",
        ),
        ("finalists", f"{len(finalists)}, tuned for {known['final_steps']} steps"),
        ("error of a prediction, left out", f"{left_out['error']:.3g} nats"),
        ("error of the mean alone", f"{left_out['error_of_mean']:.3g} nats"),
    ]
    if left_out.get("tau") is not None:
        facts.append(("Kendall's tau, left out", f"{left_out['tau']:.2f}"))
    words = "predicted and tuned losses, rounds, finalists, and what each change is worth"
    yield Section("Surrogate", facts=facts, pictures=files.figure("surrogate.png", words))


def latency(files: RunFiles) -> Iterator[Section]:
    """How true the predictions are."""
    archs, measured = list(files.archs().values()), files.values("measured.json")
    if not archs or archs[0].unit != "ms":
        return
    facts: Facts = [("device", archs[0].device)] if archs[0].device else []
    if error := archs[0].table_error:
        on = f"on {error.networks} networks that did not calibrate it"
        facts.append(("table of layers", f"{error.words}, {on}"))
    here = measured.get("device") == archs[0].device
    rows = [_measured_row(archs[0].space, one, here) for one in measured.get("networks", [])]
    header = ("network", "predicted ms", "measured ms", "difference")
    timed = "the device" if here else f"{measured.get('device')}, which the table is not of"
    caption = f"networks of this search, timed on {timed}"
    table = PageTable(caption, header, rows, ("network",))
    yield Section("Latency", facts=facts, tables=[table] if rows else ())


def _measured_row(space: MnasSpace, row: dict[str, Any], here: bool) -> list[str]:
    """A network's times; their difference tells of the table ``here``, on its own device, alone."""
    spec = space.spec(space.decode(tuple(row["arch"])))
    predicted, ms = row["predicted"], row["measured_ms"]
    difference = f"{ms / predicted - 1:+.1%}" if here else "-"
    return [" ".join(spec.block_strings()), f"{predicted:.4g}", f"{ms:.4g}", difference]


def spending(files: RunFiles) -> Iterator[Section]:
    """What the search has cost."""
    cost = files.values("cost.json")
    if cost:
        yield Section(
            "Cost of the search",
            facts=[
                ("time", f"{cost['seconds']:,.0f} s"),
                ("CPU time", f"{cost['cpu_seconds']:,.0f} s"),
                ("images x multiply-adds", f"{cost['image_macs']:.3g}"),
            ],
        )
