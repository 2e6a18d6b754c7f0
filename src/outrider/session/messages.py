"""The two messages of the protocol, as JSON lines.

``term`` grows each time a controller takes over; an agent refuses an intent of an older term, or of an older
generation in the same term, so that a deposed or delayed controller cannot turn time back (DESIGN I5).
``instance`` is drawn by an agent at its start: two agents that claim one server are told apart by it.
"""

from dataclasses import dataclass
from typing import TypeVar

from outrider.domain.intent import ServerIntent
from outrider.domain.observation import ServerObservation
from outrider.manifests.codec import CodecError, decode_json, encode_json

PROTOCOL = 1
MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class BadMessage(ValueError):
    """A message that cannot be understood; the text says why in one sentence."""


@dataclass(frozen=True, slots=True)
class IntentMessage:
    """Controller to agent: what your server should do."""

    term: int
    intent: ServerIntent
    protocol: int = PROTOCOL


@dataclass(frozen=True, slots=True)
class ReportMessage:
    """Agent to controller: what is so on this server. ``sequence`` grows by one within an ``instance``."""

    instance: str
    sequence: int
    observation: ServerObservation
    protocol: int = PROTOCOL


M = TypeVar("M", IntentMessage, ReportMessage)


def encode(message: IntentMessage | ReportMessage) -> bytes:
    """One line of JSON, with its line end."""
    return encode_json(message) + b"\n"


def decode_intent(line: bytes) -> IntentMessage:
    """The inverse of ``encode``; raises ``BadMessage``."""
    return _decode(IntentMessage, line)


def decode_report(line: bytes) -> ReportMessage:
    """The inverse of ``encode``; raises ``BadMessage``."""
    return _decode(ReportMessage, line)


def _decode(kind: type[M], line: bytes) -> M:
    if len(line) > MAX_MESSAGE_BYTES:
        raise BadMessage(f"a message of {len(line)} bytes: at most {MAX_MESSAGE_BYTES} are allowed")
    try:
        message = decode_json(kind, line)
    except CodecError as error:
        raise BadMessage(str(error)) from error
    if message.protocol != PROTOCOL:
        raise BadMessage(f"protocol {message.protocol}: this end speaks {PROTOCOL}")
    return message
