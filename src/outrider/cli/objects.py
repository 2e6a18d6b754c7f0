"""Commands about objects: apply, delete, get, describe, label."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from outrider.cli.ask import ask_controller
from outrider.cli.exits import NOT_FOUND, REFUSED, USAGE, CliError
from outrider.cli.output import Format, FormatOption, print_data, print_items
from outrider.cli.places import ServerOption
from outrider.manifests.kinds import DECLARED_KINDS, KINDS, Kind, kind_called

_DECLARED_NAMES = ", ".join(kind.plural for kind in DECLARED_KINDS)
_ALL_NAMES = ", ".join(kind.plural for kind in KINDS)

FilesOption = Annotated[
    list[str], typer.Option("--filename", "-f", help="A manifest, a directory of manifests, or - for standard input.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check only; change nothing.")]
KindArgument = Annotated[str, typer.Argument(metavar="KIND", help=_ALL_NAMES)]


def apply(filename: FilesOption, dry_run: DryRunOption = False, server: ServerOption = None) -> None:
    """Declare what the manifests say: all of them, or none when one cannot be."""
    manifests = [manifest for manifest, _ in _read(filename)]
    answer = ask_controller(server, lambda client: client.apply(manifests, dry_run))
    _print_results(answer, dry_run)


def delete(
    kind: Annotated[str | None, typer.Argument(metavar="[KIND", help=_DECLARED_NAMES)] = None,
    name: Annotated[str | None, typer.Argument(metavar="NAME]")] = None,
    filename: Annotated[
        list[str] | None, typer.Option("--filename", "-f", help="Delete what these manifests declare.")
    ] = None,
    dry_run: DryRunOption = False,
    server: ServerOption = None,
) -> None:
    """Delete declared objects: KIND NAME, or all that -f declares."""
    if bool(filename) == bool(kind and name):
        raise CliError(USAGE, "give either KIND NAME or -f FILE")
    if filename:
        keys = [key for _, key in _read(filename)]
    else:
        keys = [(_declared_kind(str(kind)).name, str(name))]
    answer = ask_controller(server, lambda client: client.delete(keys, dry_run))
    _print_results(answer, dry_run)


def get(
    kind: KindArgument,
    name: Annotated[str | None, typer.Argument(help="Only the object of this name.")] = None,
    output: FormatOption = Format.TABLE,
    server: ServerOption = None,
) -> None:
    """List objects of one kind."""
    found = _kind(kind)
    items = ask_controller(server, lambda client: client.items(found.plural, name))
    print_items(found, items, output)


def describe(kind: KindArgument, name: str, output: FormatOption = Format.YAML, server: ServerOption = None) -> None:
    """Show everything about one object."""
    found = _kind(kind)
    print_data(ask_controller(server, lambda client: client.describe(found.plural, name)), output)


def label(
    kind: Annotated[str, typer.Argument(metavar="guest")],
    name: str,
    labels: Annotated[list[str], typer.Argument(metavar="KEY=VALUE|KEY-...", help="KEY- takes a label away.")],
    server: ServerOption = None,
) -> None:
    """Give a guest labels through Outrider; they win over those its hypervisor knows."""
    require_guest(kind)
    changes = dict(_label_change(text) for text in labels)
    answer = ask_controller(server, lambda client: client.label(name, changes))
    _print_results(answer, dry_run=False)


def require_guest(word: str) -> None:
    """Raise ``CliError`` unless ``word`` names the kind Guest."""
    if _kind(word).name != "Guest":
        raise CliError(USAGE, f"{word!r}: only guests can be asked for here")


def _kind(word: str) -> Kind:
    try:
        return kind_called(word)
    except ValueError as error:
        raise CliError(USAGE, str(error)) from error


def _declared_kind(word: str) -> Kind:
    kind = _kind(word)
    if not kind.declared:
        raise CliError(REFUSED, f"{kind.plural} are observed, not declared; allowed: {_DECLARED_NAMES}")
    return kind


def _read(names: list[str]) -> list[tuple[dict[str, Any], tuple[str, str]]]:
    """The manifests in the files, each with its kind and name. Raises ``CliError`` with every problem."""
    from outrider.manifests.convert import kind_of, to_manifest  # noqa: PLC0415 - pydantic is slow to import
    from outrider.manifests.problems import ManifestError  # noqa: PLC0415
    from outrider.manifests.read import find_duplicates, read_paths, read_text, reader_beside  # noqa: PLC0415

    try:
        documents = list(read_paths(Path(name) for name in names if name != "-"))
        if "-" in names:
            documents += read_text(sys.stdin.read(), "-", reader_beside(Path("-")))
        repeated = find_duplicates(documents)
        if repeated:
            raise ManifestError(repeated)
    except ManifestError as error:
        raise CliError(REFUSED, *(str(problem) for problem in error.problems)) from error
    except UnicodeDecodeError as error:
        raise CliError(REFUSED, f"standard input is not UTF-8 text (byte {error.start})") from error
    if not documents:
        raise CliError(NOT_FOUND, f"there is no document in {', '.join(names)}")
    return [(to_manifest(each.value), (kind_of(each.value).name, each.value.name)) for each in documents]


def _label_change(text: str) -> tuple[str, str | None]:
    key, equals, value = text.partition("=")
    if equals:
        return key, value
    if text.endswith("-"):
        return text[:-1], None
    raise CliError(USAGE, f"{text!r} is neither KEY=VALUE nor KEY-")


def _print_results(answer: dict[str, Any], dry_run: bool) -> None:
    suffix = " (dry run)" if dry_run else ""
    for item in answer["items"]:
        print(f"{item['kind']} {item['name']} {item['result']}{suffix}")
    for warning in answer["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
