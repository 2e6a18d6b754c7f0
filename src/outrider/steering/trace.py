"""Asking the live programs what they would do with a packet (``BPF_PROG_TEST_RUN`` with the trace words in cb[]).

The answer is the decision itself, taken from the tables as they are at that moment; nothing is sent, marked or
counted. What the test runner cannot be given (a tunnel's sender) goes in through cb[] too.
"""

import ipaddress
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from outrider.domain.wire import Direction
from outrider.pipeline.explain import explain_reason
from outrider.pipeline.model import Reason
from outrider.pipeline.table import AppliancePort, SteeringTable
from outrider.steering import layout, syscall
from outrider.steering.layout import Action, Program, State
from outrider.steering.marks import MarkFields
from outrider.steering.tables import Tables

_CONTEXT_SIZE = 192
_MARK_AT, _IFINDEX_AT, _CB_AT = 8, 40, 48
_LEAST_FRAME = 14
_MOST_STEPS = 16
_REASONS = tuple(layout.REASONS)


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict as the programs gave it. ``value`` is the mark, the lane or the tunnel identifier, by action."""

    action: Action
    reason: str
    direction: Direction
    state: State
    ifindex: int
    path: int
    value: int
    peer: str


@dataclass(frozen=True, slots=True)
class Question:
    """A packet put to one program. ``sender`` (IPv4) and ``tunnel_id`` matter at the tunnel only."""

    program: Program
    ifindex: int
    frame: bytes
    mark: int = 0
    sender: str = "0.0.0.0"
    tunnel_id: int = 0


def ask(tables: Tables, question: Question) -> Answer:
    """Put a packet to a live program. Raises ``ValueError`` for a frame that is too short, or no such interface."""
    try:
        socket.if_indextoname(question.ifindex)
    except OSError as error:
        raise ValueError(f"there is no interface {question.ifindex}") from error
    if len(question.frame) < _LEAST_FRAME:
        raise ValueError(f"a frame has at least {_LEAST_FRAME} bytes")
    context = bytearray(_CONTEXT_SIZE)
    struct.pack_into("<I", context, _MARK_AT, question.mark)
    struct.pack_into("<I", context, _IFINDEX_AT, question.ifindex)
    context[_CB_AT : _CB_AT + 12] = tables.trace
    struct.pack_into("<II", context, _CB_AT + 12, int(ipaddress.IPv4Address(question.sender)), question.tunnel_id)
    run = syscall.test_run(tables.program_fds[question.program.name], question.frame, bytes(context))
    verdict, ifindex, path, value, peer = struct.unpack_from("<5I", run.context, _CB_AT)
    return Answer(
        Action(verdict & 0xFF),
        _REASONS[verdict >> 8 & 0xFF],
        Direction.INGRESS if verdict >> 16 & 0xFF else Direction.EGRESS,
        State(verdict >> 24),
        ifindex,
        path,
        value,
        str(ipaddress.IPv4Address(peer)),
    )


def trace(tables: Tables, marks: MarkFields, table: SteeringTable, question: Question) -> list[str]:
    """The way of a packet from ``question`` on, one line for each step; assumes that every appliance lets it by."""
    return list(_walk(tables, marks, {port.ifindex: port for port in table.appliance_ports}, question))


def _walk(
    tables: Tables, marks: MarkFields, appliance_ports: Mapping[int, AppliancePort], question: Question | None
) -> Iterator[str]:
    for _ in range(_MOST_STEPS):
        if question is None:
            return
        answer = ask(tables, question)
        yield _in_words(answer, appliance_ports)
        question = _next_question(answer, question.frame, marks, appliance_ports)
    yield f"still going after {_MOST_STEPS} steps"


def _in_words(answer: Answer, appliance_ports: Mapping[int, AppliancePort]) -> str:
    match answer.action:
        case Action.ENTER:
            port = appliance_ports.get(answer.ifindex)
            name = f"{port.appliance} by its {port.side}" if port else "an appliance"
            return f"path {answer.path}: into {name} (interface {answer.ifindex}) on lane {answer.value}"
        case Action.DELIVER:
            return (
                f"path {answer.path}: back to the vnic port (interface {answer.ifindex}), marked {answer.value:#010x}"
            )
        case Action.TUNNEL:
            return f"path {answer.path}: to the server at {answer.peer} under tunnel identifier {answer.value}"
        case _:
            return explain_reason(Reason(answer.reason))


def _next_question(
    answer: Answer, frame: bytes, marks: MarkFields, appliance_ports: Mapping[int, AppliancePort]
) -> Question | None:
    match answer.action:
        case Action.ENTER:
            return _out_of_appliance(answer, frame, appliance_ports)
        case Action.DELIVER:
            program = layout.FROM_GUEST if answer.direction is Direction.EGRESS else layout.TO_GUEST
            return Question(program, answer.ifindex, frame, answer.value)
        case Action.TUNNEL:
            return Question(layout.FROM_TUNNEL, answer.ifindex, frame, marks.arrived, answer.peer, answer.value)
        case _:
            return None


def _out_of_appliance(answer: Answer, frame: bytes, appliance_ports: Mapping[int, AppliancePort]) -> Question | None:
    entered = appliance_ports.get(answer.ifindex)
    for port in appliance_ports.values():
        if entered and port.appliance == entered.appliance and port.side is not entered.side:
            return Question(layout.FROM_APPLIANCE, port.ifindex, with_lane(frame, answer.value))
    return None


def with_lane(frame: bytes, lane: int) -> bytes:
    """``frame`` with an 802.1Q tag in it."""
    return frame[:12] + struct.pack(">HH", 0x8100, lane) + frame[12:]
