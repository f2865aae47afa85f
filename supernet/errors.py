"""The one error that a user can mend, and the checks of settings that raise it. No torch."""

import math
import sys
from collections.abc import Collection


class UserError(ValueError):
    """Bad input: the message is one line that names the value, the limit and the way out.

    Commands print it without a traceback and exit with status 2.

    Examples:
        >>> from supernet.space.published import published_spec
        >>> try:
        ...     published_spec("mnasnet_z9")
        ... except UserError as error:
        ...     print(str(error)[:28])
        unknown network 'mnasnet_z9'
    """


class MissingDataError(UserError):
    """Data that are not where they were: what can do without them may go on, and say so."""


def one_line(message: object) -> str:
    r"""A message, or what an exception says, without line breaks and what a terminal obeys.

    Examples:
        >>> one_line("two\nlines")
        'two lines'
    """
    words = " ".join(str(message).split())
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in words)


def check_range(
    place: str,
    settings: object,
    *names: str,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
) -> None:
    """Refuse numbers that lie outside a range, or are not finite; None stands for a default.

    The settings have the numbers, or lists of them, as attributes of these names; ``place`` stands
    in front of a name in the error: ``recipe.``, ``--`` or nothing. ``least`` and ``most`` are
    allowed themselves, ``above`` and ``below`` are not.

    Raises:
        UserError: naming the setting, its value and the range.

    Examples:
        >>> from types import SimpleNamespace
        >>> options = SimpleNamespace(epochs=0)
        >>> check_range("--", options, "epochs", least=1)
        Traceback (most recent call last):
            ...
        supernet.errors.UserError: --epochs is 0, it must be at least 1
    """
    limits = {"at least": least, "above": above, "at most": most, "below": below}
    words = [f"{word} {limit:g}" for word, limit in limits.items() if math.isfinite(limit)]
    for name in names:
        held = getattr(settings, name)
        for value in held if isinstance(held, (tuple, list)) else (held,):
            if value is None or (least <= value <= most and above < value < below):
                continue
            finite = [] if abs(value) <= sys.float_info.max else ["a finite number"]
            required = " and ".join(finite + words)
            raise UserError(f"{place}{name} is {value}, it must be {required}")


def check_choice(name: str, value: object, allowed: Collection[object]) -> None:
    """Refuse a value that is none of those allowed.

    Raises:
        UserError: naming the value and those that are allowed.

    Examples:
        >>> check_choice("--cost", "watts", ("ms", "macs", "params"))
        Traceback (most recent call last):
            ...
        supernet.errors.UserError: --cost is 'watts', allowed are ms, macs, params
    """
    if value not in allowed:
        told = repr(value) if len(repr(value)) < 100 else f"{repr(value)[:60]}..."
        raise UserError(f"{name} is {told}, allowed are {', '.join(map(str, allowed))}")
