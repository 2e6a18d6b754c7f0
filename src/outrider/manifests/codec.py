"""Domain values to JSON and back: one place, so that nobody writes a second spelling of a value.

Session messages, stored rows and saved intents all carry frozen dataclasses of ``outrider.domain``. Their field names
are the JSON keys, tuples are arrays, enumerations their text. Reading is strict about types and silent about fields
it does not know, so that an older agent can read what a newer controller says.
"""

import json
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}  # building one costs milliseconds; types are few


class CodecError(ValueError):
    """The data do not describe a value of the type asked for; the message names the first field at fault."""


def _adapter(type_: Any) -> TypeAdapter[Any]:
    if type_ not in _ADAPTERS:
        _ADAPTERS[type_] = TypeAdapter(type_)
    return _ADAPTERS[type_]


def encode(value: object) -> dict[str, Any]:
    """``value`` (a dataclass) as a dict of JSON's own types, keys as the fields are named."""
    return cast(dict[str, Any], _adapter(type(value)).dump_python(value, mode="json"))


def encode_json(value: object) -> bytes:
    """``value`` as compact JSON text without a line break: fit for one NDJSON line."""
    return _adapter(type(value)).dump_json(value)


def decode(type_: type[T], data: object) -> T:
    """The value of ``type_`` that ``encode`` turned into ``data``; raises ``CodecError`` when there is none."""
    return decode_json(type_, json.dumps(data))


def decode_json(type_: type[T], text: bytes | str) -> T:
    """The value of ``type_`` that ``encode_json`` wrote; raises ``CodecError`` when there is none."""
    try:
        return cast(T, _adapter(type_).validate_json(text))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise CodecError(f"not a {type_.__name__}: {where}: {first['msg']}") from error
