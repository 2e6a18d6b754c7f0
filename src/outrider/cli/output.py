"""What is printed: tables for people, JSON and YAML for scripts.

Lists for scripts are always ``{"items": […]}`` with the API's own keys, also for one object: a script that works for
three works for one.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from outrider.cli.columns import COLUMNS, Row
from outrider.manifests.kinds import Kind


class Format(StrEnum):
    """The choices of ``-o``."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


FormatOption = Annotated[
    Format, typer.Option("--output", "-o", help="table and wide for people, json and yaml for scripts.")
]


def print_items(kind: Kind, items: Sequence[Row], form: Format) -> None:
    """A list of objects of one kind."""
    if form in (Format.JSON, Format.YAML):
        print_data({"items": list(items)}, form)
    elif not items:
        print(f"There are no {kind.plural}.", file=sys.stderr)
    else:
        _print_table(kind, items, wide=form is Format.WIDE)


def print_data(data: object, form: Format) -> None:
    """Any value, as YAML unless JSON is wanted."""
    if form is Format.JSON:
        print(json.dumps(data, indent=2, ensure_ascii=False))
        return
    import yaml  # noqa: PLC0415 - only needed here

    print(yaml.dump(_plain(data), Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True), end="")


def _plain(data: Any) -> Any:
    """``data`` without sharing, so that YAML shows values and not anchors."""
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    return data


def _print_table(kind: Kind, items: Sequence[Row], wide: bool) -> None:
    from rich.console import Console  # noqa: PLC0415 - rich is slow to import
    from rich.table import Table  # noqa: PLC0415

    columns = [column for column in COLUMNS[kind] if wide or not column.only_wide]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.title, no_wrap=not column.wraps, overflow="fold")
    now = time.time()
    for item in items:
        table.add_row(*(column.text(item, now) for column in columns))
    # Piped into something, a line must stay a line whatever its length.
    width = None if sys.stdout.isatty() else 10_000
    Console(markup=False, highlight=False, soft_wrap=False, width=width).print(table)
