"""``outrider version``. Without options, since Typer needs a sixth of a second to prepare its first one."""

from outrider import __version__


def version() -> None:
    """Print the version."""
    print(f"outrider {__version__}")
