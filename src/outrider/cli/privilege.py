"""Saying at once that root is needed, and what for, instead of failing half-way."""

import os

from outrider.cli.exits import NOT_ALLOWED, CliError


def require_root(reason: str) -> None:
    """Raise ``CliError`` when this process is not root's."""
    if os.geteuid() != 0:
        raise CliError(NOT_ALLOWED, f"this needs root: {reason}")
