"""The session protocol: what is lost, late, repeated or foreign changes nothing; what is newest wins."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.domain.guest import GuestState, VnicId
from outrider.domain.intent import ServerIntent, WireIntent
from outrider.domain.observation import (
    Count,
    GuestObservation,
    ServerObservation,
    VnicObservation,
    WireCounters,
    WireObservation,
)
from outrider.domain.wire import Hop, Path, WireState
from outrider.session.agent import AgentSession
from outrider.session.controller import ControllerSession
from outrider.session.messages import BadMessage, IntentMessage, decode_intent, decode_report, encode

VNIC = VnicId("0d6b1c0e-0000-4000-8000-000000000001", "52:54:00:00:00:01")
WIRE = WireIntent(VNIC, "web-1", WireState.PATH, (Path(3, (Hop("ips-s2-1", "s2", 7, 12),)),), 3)
SEEN = ServerObservation(
    "s1",
    "192.0.2.1",
    1700,
    8,
    guests=(
        GuestObservation(
            VNIC.guest, "web-1", GuestState.RUNNING, {"tier": "web"}, (VnicObservation(VNIC.mac, "vnet0"),)
        ),
    ),
    wires=(WireObservation(VNIC, "vnet0", "path", (3,), 3),),
)


def intent_line(term: int, generation: int, server: str = "s1") -> bytes:
    return encode(IntentMessage(term, ServerIntent(server, generation, (WIRE,))))


def test_messages_read_back_as_written():
    line = intent_line(4, 9)
    assert encode(decode_intent(line)) == line and line.count(b"\n") == 1
    report = AgentSession("s1", "a").owed(SEEN, 0.0)
    assert report is not None and decode_report(report).observation == SEEN


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), max_size=12))
def test_an_agent_ends_with_the_newest_intent_whatever_order_they_come_in(ranks: list[tuple[int, int]]):
    session = AgentSession("s1", "a")
    for term, generation in ranks:
        session.take_line(intent_line(term, generation))
    assert session.intent.generation == (max(ranks)[1] if ranks else 0)


def test_a_deposed_controllers_intent_is_refused():
    session = AgentSession("s1", "a")
    assert session.take_line(intent_line(2, 1))
    assert not session.take_line(intent_line(1, 99))
    assert not session.take_line(intent_line(2, 1))


def test_an_intent_for_another_server_is_refused_and_changes_nothing():
    session = AgentSession("s1", "a")
    with pytest.raises(BadMessage, match="for s2, but this is s1"):
        session.take_line(intent_line(1, 1, "s2"))
    assert session.accepted is None


@pytest.mark.parametrize("line", [b"", b"{", b"[]\n", b'{"term": 1}', intent_line(1, 1)[:-20], b"\xff\xfe"])
def test_what_is_no_message_is_refused_in_one_sentence(line: bytes):
    with pytest.raises(BadMessage) as caught:
        decode_intent(line)
    assert "\n" not in str(caught.value)


def test_a_message_of_another_protocol_is_refused():
    with pytest.raises(BadMessage, match="this end speaks 1"):
        decode_intent(intent_line(1, 1).replace(b'"protocol":1', b'"protocol":2'))


def test_news_is_reported_at_once_and_growing_numbers_only_now_and_then():
    session = AgentSession("s1", "a")
    assert session.owed(SEEN, 0.0)
    counted = replace(SEEN, wires=(replace(SEEN.wires[0], counters=WireCounters({"first_egress": Count(1, 60)})),))
    assert session.owed(counted, 0.1) is None
    assert session.owed(counted, 1.5)
    assert session.owed(replace(counted, applied_generation=2), 1.6)
    session.connected()
    assert session.owed(replace(counted, applied_generation=2), 1.7)


def test_a_controller_takes_reports_of_the_watching_agent_in_order():
    agent, controller = AgentSession("s1", "a"), ControllerSession("s1", 1)
    first = agent.owed(SEEN, 0.0)
    assert first is not None
    with pytest.raises(BadMessage, match="must watch its intents first"):
        controller.take_report(first)
    controller.connected("a")
    assert controller.take_report(first) == SEEN
    assert controller.take_report(first) is None, "a repeated report is old news"
    controller.connected("b")
    with pytest.raises(BadMessage, match="another agent speaks for s1"):
        controller.take_report(first)


def test_a_report_sent_under_another_servers_name_is_refused():
    controller = ControllerSession("s2", 1)
    controller.connected("a")
    report = AgentSession("s1", "a").owed(SEEN, 0.0)
    assert report is not None
    with pytest.raises(BadMessage, match="a report of s1 sent as s2"):
        controller.take_report(report)


def test_a_controller_owes_each_intent_once_per_watch():
    controller = ControllerSession("s1", 1)
    controller.connected("a")
    intent = ServerIntent("s1", 1, (WIRE,))
    assert controller.owed(intent)
    assert controller.owed(intent) is None
    controller.connected("a")
    assert controller.owed(intent)


def test_the_end_of_an_old_watch_does_not_end_the_new_one():
    controller = ControllerSession("s1", 1)
    controller.connected("a")
    controller.connected("b")
    controller.disconnected("a")
    assert controller.is_connected
