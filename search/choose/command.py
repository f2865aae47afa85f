"""The command line of ``mnasnet choose``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from search.choose.question import Question
from supernet.command.arguments import Parser, positive_int
from supernet.command.trust import add_trust
from supernet.errors import UserError

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from search.choose.finished import FinishedSearch

DESCRIPTION = """Choose networks for other targets, devices or limits from a finished search.

Shared weights are not trained again. The surrogate is fitted to the labels of the search and to a
few more near each target, its best networks are found exactly, and some of them are tuned to choose
from. Data and trainer are the search's; its options --data.NAME, --trainer.NAME, --wandb.NAME and
--threads may be given too, such as --data.root where images have moved.
"""
OTHERS = re.compile(r"--(data|trainer|wandb|threads)\b")
"""Options of ``fit`` that may be given too: they ask nothing."""
MOST_TARGETS = 100


def choose(arguments: Sequence[str]) -> None:
    """Answer a question; ``arguments`` are those of ``mnasnet choose``.

    Raises:
        UserError: for what cannot be, in one line.
    """
    options, others = _parser().parse_known_args(arguments)
    if others and not OTHERS.match(others[0]):
        raise UserError(f"unrecognized arguments: {' '.join(others)} (see --help)")
    question = Question(
        front_targets(options.front) if options.front else options.target,
        options.cost,
        options.table,
        options.constraints,
        options.candidates,
        options.labels,
    )
    # Only now: torch takes seconds to load.
    from search.choose.choices import ChoiceModule
    from search.choose.finished import FinishedSearch
    from supernet.run.cli import CLI

    finished = FinishedSearch.read(options.run)
    out = options.out or options.run / "choices" / question.name
    trusted = (word for module in options.trust for word in ("--trust", module))
    CLI(
        ChoiceModule,
        "search",
        lambda folder: choice_callbacks(folder, finished, question),
        args=[
            *("fit", "--config", str(finished.config), "--run", str(out)),
            *("--ckpt_path", str(finished.checkpoint)),
            *(*question.options(), *trusted, *others),
        ],
        name="search choose",
    )


def choice_callbacks(
    folder: Path, finished: FinishedSearch, question: Question
) -> list[pl.Callback]:
    """The callbacks of a choice in its folder."""
    from search.choose.choices import Choices
    from search.monitoring.compute import Spending

    spending = Spending(lambda: 0)
    return [spending, Choices(folder, spending, finished, question)]


def front_targets(num: int) -> list[str]:
    """Percentiles of the space in equal steps: the middles of ``num`` equal parts."""
    if not 1 < num <= MOST_TARGETS:
        raise UserError(f"--front is {num}, it must be from 2 to {MOST_TARGETS} targets")
    return [f"p{100 * (place + 0.5) / num:.4g}" for place in range(num)]


def _parser() -> Parser:
    parser = Parser(prog="python -m search choose", description=DESCRIPTION)
    add = parser.add_argument
    add("--run", type=Path, required=True, help="folder of the finished search")
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument(
        "--target",
        nargs="+",
        metavar="T",
        help="upper limits of the cost: 12, p40 or '0.8x mnasnet_a1'; a network is chosen for each",
    )
    asked.add_argument(
        "--front", type=int, metavar="N", help="N percentiles of the space, as targets"
    )
    add("--cost", choices=("ms", "macs", "params"), help="what is limited, if not the search's")
    add("--table", metavar="JSON", help="latency table of another device; its cost is ms")
    add(
        "--constraints",
        metavar="YAML",
        help="limits in place of the search's, such as '[{cost: params, limit: 3e6}]'; [] for none",
    )
    add(
        "--candidates",
        type=positive_int,
        default=6,
        help="networks tuned to choose from, by target (6)",
    )
    add(
        "--labels",
        type=positive_int,
        default=8,
        help="uniform networks to learn from by target, those of the search included (8)",
    )
    add("--out", type=Path, metavar="DIR", help="folder of the choice (RUN/choices/NAME)")
    add_trust(parser)
    return parser
