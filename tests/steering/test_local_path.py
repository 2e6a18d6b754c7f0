"""Packets on one server: a guest, the fabric, and an appliance beside the guest."""

import pytest

from outrider.domain.wire import WireState
from outrider.steering.arrays import MappedWords

from .servers import CLIENT_MAC, GUEST_MAC, Server, talk, wire
from .stage import Stage, frame

pytestmark = pytest.mark.system


@pytest.fixture
def ready(server: Server) -> Server:
    server.me = server.add_guest(1)
    server.add_client()
    server.add_appliance("nul")
    return server


def test_a_guest_reaches_the_fabric_through_its_appliance_and_back(ready: Server, stage: Stage):
    ready.apply(wire(ready.me, ready.local_path(7, "nul", 101)))
    assert talk(stage) == (3, 3)
    counts = ready.steering.wire_counters(ready.me)
    assert counts.frames("first_egress") == counts.frames("passed_egress") == 3
    assert counts.frames("first_ingress") == counts.frames("passed_ingress") == 3


def test_a_held_wire_passes_nothing_either_way(ready: Server, stage: Stage):
    ready.apply(wire(ready.me))
    guest, client = stage.station("g1", "eth0"), stage.station("c200", "eth0")
    guest.send(frame(GUEST_MAC, CLIENT_MAC, b"out"))
    client.send(frame(CLIENT_MAC, GUEST_MAC, b"in!"))
    assert client.receive(b"out", 0.2) is None
    assert guest.receive(b"in!", 0.2) is None
    assert ready.frames(ready.me, "held_egress") == ready.frames(ready.me, "first_egress") == 1
    assert ready.frames(ready.me, "held_ingress") == ready.frames(ready.me, "first_ingress") == 1


def test_an_armed_port_that_nobody_has_spoken_of_passes_nothing(ready: Server, stage: Stage):
    guest, client = stage.station("g1", "eth0"), stage.station("c200", "eth0")
    guest.send(frame(GUEST_MAC, CLIENT_MAC, b"out"))
    assert client.receive(b"out", 0.2) is None


def test_an_open_wire_passes_and_counts(ready: Server, stage: Stage):
    ready.apply(wire(ready.me, state=WireState.OPEN))
    assert talk(stage) == (3, 3)
    assert ready.frames(ready.me, "opened_egress") == ready.frames(ready.me, "first_egress") == 3
    assert ready.frames(ready.me, "passed_egress") == 0


def test_the_returns_of_a_path_that_failed_are_gone_before_anything_else_is_written(ready: Server, stage: Stage):
    ready.add_appliance("two")
    ready.apply(wire(ready.me, ready.local_path(7, "nul", 101)))
    written: list[str] = []
    tables = ready.steering._tables
    for name, words in (("lanes", tables.lanes), ("ports", tables.ports)):
        _record_stores(name, words, written)
    ready.apply(wire(ready.me, ready.local_path(8, "two", 101)))
    assert written[:2] == ["lanes=0", "lanes=0"], "path 7 was active and is not wanted any more: it has failed"
    assert written[2:] == ["lanes", "lanes", "ports"]
    assert talk(stage) == (3, 3)


def test_a_handover_keeps_the_former_returns_until_after_the_switch(ready: Server, stage: Stage):
    ready.add_appliance("two")
    seven, eight = ready.local_path(7, "nul", 101), ready.local_path(8, "two", 101)
    ready.apply(wire(ready.me, seven))
    ready.apply(wire(ready.me, seven, eight, active=8))
    written: list[str] = []
    _record_stores("lanes", ready.steering._tables.lanes, written)
    ready.apply(wire(ready.me, eight))
    assert written == ["lanes=0", "lanes=0"]
    assert talk(stage) == (3, 3)


def _record_stores(name: str, words: MappedWords, written: list[str]) -> None:
    store = words.store

    def recording(index: int, word: int) -> None:
        written.append(name if word else f"{name}=0")
        store(index, word)

    words.store = recording  # type: ignore[method-assign]
