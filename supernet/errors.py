"""The one error that a user can mend."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input: the message is one line that names the value, the limit and the way out.

    Commands print it without a traceback and exit with status 2.
    """
