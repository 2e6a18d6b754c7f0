"""Reading manifests: from YAML text, files and directories to documents that know where they came from.

YAML is read more strictly than PyYAML does by itself: a key given twice in one mapping is an error here, since the
first of the two would vanish without a word.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from outrider.manifests.convert import Declared, from_manifest, kind_of
from outrider.manifests.problems import ManifestError, Origin, Problem
from outrider.manifests.shapes import MAX_RULES_BYTES

SUFFIXES = (".yaml", ".yml", ".json")
MAX_SOURCE_BYTES = MAX_RULES_BYTES + (1 << 20)

ReadFile = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Document:
    """One declared object and where it was read."""

    value: Declared
    origin: Origin


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader, refusing a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"):
            if key.value in seen:
                reason = f"field {key.value!r} is given twice in one mapping"
                raise yaml.constructor.ConstructorError(None, None, reason, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_text(text: str, source: str, read_file: ReadFile | None = None) -> tuple[Document, ...]:
    """The documents of one YAML (or JSON) text; empty ones are left out, ``items:`` lists are taken apart.

    ``read_file`` gives the text of a RuleSet's ``file:``; without it such a field is refused. Raises
    ``ManifestError`` with all problems of the text.
    """
    documents: list[Document] = []
    problems: list[Problem] = []
    for origin, data in _documents_in(text, source):
        try:
            documents.append(Document(from_manifest(_with_rules(data, origin, read_file), origin), origin))
        except ManifestError as error:
            problems.extend(error.problems)
    problems.extend(find_duplicates(documents))
    if problems:
        raise ManifestError(problems)
    return tuple(documents)


def _documents_in(text: str, source: str) -> Iterator[tuple[Origin, Any]]:
    number = 0
    for data in _load_all(text, source):
        items = data["items"] if isinstance(data, dict) and isinstance(data.get("items"), list) else [data]
        for item in items:
            if item is None:
                continue
            number += 1
            yield Origin(source, number), item


def _load_all(text: str, source: str) -> list[Any]:
    try:
        return list(yaml.load_all(text, Loader=_StrictLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ManifestError([Problem(source, where, error.problem or "is not YAML")]) from error
    except yaml.YAMLError as error:
        raise ManifestError([Problem(source, "", f"is not YAML: {' '.join(str(error).split())}")]) from error
    except RecursionError as error:
        raise ManifestError([Problem(source, "", "is nested too deeply")]) from error
    except ValueError as error:  # PyYAML passes on what int() or date() say of a scalar
        raise ManifestError([Problem(source, "", f"holds a value that cannot be read: {error}")]) from error


def _with_rules(data: Any, origin: Origin, read_file: ReadFile | None) -> Any:
    """``data`` with a RuleSet's ``file:`` replaced by the text of that file."""
    if not isinstance(data, dict) or data.get("kind") != "RuleSet":
        return data
    spec = data.get("spec")
    if not isinstance(spec, dict):
        return data
    if "file" not in spec:
        if "text" not in spec:
            raise ManifestError([Problem(str(origin), "spec", "needs text (the rules) or file (where they are)")])
        return data
    return {**data, "spec": _inlined(spec, origin, read_file)}


def _inlined(spec: dict[str, Any], origin: Origin, read_file: ReadFile | None) -> dict[str, Any]:
    problem = None
    if "text" in spec:
        problem = "give either text or file, not both"
    elif not isinstance(spec["file"], str):
        problem = "must be a string: a path relative to the manifest"
    elif read_file is None:
        problem = "only the command line reads files; send the rules as text"
    if problem or read_file is None:
        raise ManifestError([Problem(str(origin), "spec.file", problem or "")])
    try:
        text = read_file(spec["file"])
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ManifestError([Problem(str(origin), "spec.file", f"{spec['file']}: {reason}")]) from error
    return {**{key: value for key, value in spec.items() if key != "file"}, "text": text}


def find_duplicates(documents: Iterable[Document]) -> list[Problem]:
    """A problem for each document whose kind and name an earlier one has already used."""
    first: dict[tuple[str, str], Origin] = {}
    problems = []
    for document in documents:
        key = (kind_of(document.value).name, document.value.name)
        if key in first:
            message = f"{key[0]} {key[1]!r} was already given in {first[key]}"
            problems.append(Problem(str(document.origin), "metadata.name", message))
        first.setdefault(key, document.origin)
    return problems


def read_paths(paths: Iterable[Path]) -> tuple[Document, ...]:
    """The documents of several files, and of the manifests in directories (not in their subdirectories).

    Raises ``ManifestError`` with all problems of all files.
    """
    documents: list[Document] = []
    problems: list[Problem] = []
    for path in _files_of(paths):
        try:
            documents.extend(read_text(_text_of(path), str(path), reader_beside(path)))
        except ManifestError as error:
            problems.extend(error.problems)
    across = find_duplicates(documents) if not problems else []
    if problems or across:
        raise ManifestError([*problems, *across])
    return tuple(documents)


def _files_of(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
        if not files:
            raise ManifestError([Problem(str(path), "", f"holds no manifest ({', '.join(SUFFIXES)})")])
        yield from files


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SOURCE_BYTES + 1)
        if len(content) > MAX_SOURCE_BYTES:
            raise ManifestError([Problem(str(path), "", f"is larger than {MAX_SOURCE_BYTES} bytes")])
        return content.decode()
    except OSError as error:
        raise ManifestError([Problem(str(path), "", f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ManifestError([Problem(str(path), "", f"is not UTF-8 text (byte {error.start})")]) from error


def reader_beside(path: Path) -> ReadFile:
    """Reads the files that the manifest ``path`` names, relative to where it lies."""

    def read(name: str) -> str:
        file = path.parent / name
        if file.stat().st_size > MAX_RULES_BYTES:
            raise ValueError(f"larger than {MAX_RULES_BYTES} bytes")
        return file.read_text(encoding="utf-8")

    return read
