"""pydantic's findings, reworded for people who write manifests.

pydantic says where and what kind of fault; this module adds what would be right there: the fields a mapping may have
(found by walking the model along the fault's own path), the values an enumeration takes, and the nearest of them.
"""

import typing
from collections.abc import Callable, Iterator, Mapping
from enum import EnumMeta
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from outrider.manifests.problems import Origin, Problem, allowed_text

Location = tuple[int | str, ...]

_YAML_NAMES = {dict: "a mapping", list: "a list", str: "a string", bool: "true/false", type(None): "nothing"}


def find_problems(error: ValidationError, model: type[BaseModel], origin: Origin) -> list[Problem]:
    """One ``Problem`` for each of pydantic's findings about a document of shape ``model``."""
    return [
        Problem(str(origin), field_path(finding["loc"]), _message(finding, model))
        for finding in error.errors(include_url=False)
    ]


def field_path(location: Location) -> str:
    """``("spec", "controls", 0)`` as ``spec.controls[0]``; a key that is itself at fault is named without more."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]":
            path += f".{part}" if path else part
    return path


def fields_allowed_at(model: type[BaseModel], location: Location) -> list[str]:
    """The field names that the mapping at ``location`` within ``model`` may have; empty when it is not a model."""
    here: Any = model
    for part in location:
        if isinstance(part, int):
            here = next(iter(_models_in(here)), None)
            continue
        fields = _fields_by_alias(here) if isinstance(here, type) and issubclass(here, BaseModel) else {}
        here = next(iter(_models_in(fields[part])), None) if part in fields else None
    return list(_fields_by_alias(here)) if here is not None else []


def _fields_by_alias(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is Annotated or get_origin(annotation) is not None:
        for argument in get_args(annotation):
            yield from _models_in(argument)


def _message(finding: ErrorDetails, model: type[BaseModel]) -> str:
    reword = _WORDS.get(finding["type"])
    if reword is not None:
        return reword(finding, model)
    return finding["msg"][:1].lower() + finding["msg"][1:]


def _unknown_field(finding: ErrorDetails, model: type[BaseModel]) -> str:
    *parent, name = finding["loc"]
    return f"unknown field; {allowed_text(name, fields_allowed_at(model, tuple(parent)))}"


def _missing(finding: ErrorDetails, model: type[BaseModel]) -> str:
    siblings = fields_allowed_at(model, finding["loc"][:-1])
    return f"is required (fields here: {', '.join(siblings)})"


def _not_one_of(finding: ErrorDetails, model: type[BaseModel]) -> str:
    allowed = _expected(finding)
    return f"{finding['input']!r} is not allowed; {allowed_text(finding['input'], allowed)}"


def _expected(finding: ErrorDetails) -> list[str]:
    text = str(finding.get("ctx", {}).get("expected", ""))
    return [word.strip().strip("'") for part in text.split(" or ") for word in part.split(",")]


def _wrong_type(wanted: str) -> Callable[[ErrorDetails, type[BaseModel]], str]:
    def reword(finding: ErrorDetails, model: type[BaseModel]) -> str:
        given = finding["input"]
        named = next((name for kind, name in _YAML_NAMES.items() if isinstance(given, kind)), repr(given))
        hint = "; put it in quotes" if wanted == "a string" and not isinstance(given, dict | list | None) else ""
        fields = fields_allowed_at(model, finding["loc"]) if wanted == "a mapping" else []
        hint = f"; allowed: {', '.join(fields)}" if fields else hint
        return f"must be {wanted}, not {named}{hint}"

    return reword


def _bound(words: str, key: str) -> Callable[[ErrorDetails, type[BaseModel]], str]:
    def reword(finding: ErrorDetails, model: type[BaseModel]) -> str:
        return f"must {words} {finding['ctx'][key]}, not {finding['input']}"

    return reword


def _value_error(finding: ErrorDetails, model: type[BaseModel]) -> str:
    return str(finding["ctx"]["error"])


def _not_yet(finding: ErrorDetails, model: type[BaseModel]) -> str:
    allowed = _enumeration_at(model, finding["loc"])
    return f"{finding['msg']}; allowed: {', '.join(allowed)}"


def _enumeration_at(model: type[BaseModel], location: Location) -> list[str]:
    here: Any = model
    for part in location:
        here = _fields_by_alias(here)[str(part)] if isinstance(here, type) and issubclass(here, BaseModel) else here
    members: list[Any] = list(here) if isinstance(here, EnumMeta) else []
    return [str(member) for member in members]


def _too_short(finding: ErrorDetails, model: type[BaseModel]) -> str:
    return f"needs at least {finding['ctx']['min_length']}"


def _too_long(finding: ErrorDetails, model: type[BaseModel]) -> str:
    return f"takes at most {finding['ctx']['max_length']}"


_WORDS: typing.Final[Mapping[str, Callable[[ErrorDetails, type[BaseModel]], str]]] = {
    "extra_forbidden": _unknown_field,
    "missing": _missing,
    "enum": _not_one_of,
    "literal_error": _not_one_of,
    "string_type": _wrong_type("a string"),
    "int_type": _wrong_type("a whole number"),
    "float_type": _wrong_type("a number"),
    "list_type": _wrong_type("a list"),
    "dict_type": _wrong_type("a mapping"),
    "model_type": _wrong_type("a mapping"),
    "greater_than": _bound("be more than", "gt"),
    "greater_than_equal": _bound("be at least", "ge"),
    "less_than_equal": _bound("be at most", "le"),
    "too_short": _too_short,
    "too_long": _too_long,
    "string_too_long": _too_long,
    "value_error": _value_error,
    "not_yet": _not_yet,
}
