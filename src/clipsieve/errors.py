"""The exception for mistakes that a user can correct."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in a config, a file or an option: one line that names it and says what is allowed.

    The command line prints the message without a traceback and exits with status 2.
    """
