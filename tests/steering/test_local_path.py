"""Packets on one server: a guest, the fabric, and an appliance beside the guest."""

import pytest

from outrider.domain.wire import WireState

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
