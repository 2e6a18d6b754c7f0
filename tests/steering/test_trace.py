"""Asking the live programs: the whole way of a packet, in words, and nothing changed by asking."""

import pytest

from outrider.domain.intent import Peer
from outrider.domain.wire import Hop, WireState
from outrider.domain.wire import Path as WirePath

from .servers import CLIENT_MAC, GUEST_MAC, Server, wire
from .stage import frame

pytestmark = pytest.mark.system

PACKET = frame(GUEST_MAC, CLIENT_MAC, b"what if")


@pytest.fixture
def ready(server: Server) -> Server:
    server.add_guest(1)
    server.add_appliance("nul")
    server.add_tunnel(1)
    return server


def trace(server: Server, direction: str, packet: bytes = PACKET) -> list[str]:
    with server.inside():
        return server.steering.trace(server.ifindex("vnic1"), direction, packet)


def test_a_local_path_is_told_to_its_end(ready: Server):
    me = next(iter(ready.guests))
    ready.apply(wire(me, ready.local_path(7, "nul", 101)))
    inport, outport, port = (ready.ifindex(name) for name in ("nul-in", "nul-out", "vnic1"))
    assert trace(ready, "egress") == [
        f"path 7: into nul by its inport (interface {inport}) on lane 101",
        f"path 7: back to the vnic port (interface {port}), marked 0x81000000",
        "passes: inspected, marked for this wire",
    ]
    assert trace(ready, "ingress")[0] == f"path 7: into nul by its outport (interface {outport}) on lane 101"
    assert trace(ready, "ingress")[-1] == "passes: inspected, marked for this wire"
    assert ready.frames(me, "first_egress") == 0


def test_a_chain_through_another_server_is_told_to_its_end(ready: Server):
    me = next(iter(ready.guests))
    chain = WirePath(9, (Hop("nul", "s1", 5), Hop("far", "s2", 6, 12)))
    ready.apply(wire(me, chain), peers=(Peer("s2", "10.8.0.2"),))
    lines = trace(ready, "egress")
    assert lines[1] == "path 9: to the server at 10.8.0.2 under tunnel identifier 24"
    assert lines[-1] == "passes: inspected, marked for this wire"
    assert trace(ready, "ingress")[0] == "path 9: to the server at 10.8.0.2 under tunnel identifier 25"


def test_a_hold_and_an_open_wire_say_so(ready: Server):
    me = next(iter(ready.guests))
    ready.apply(wire(me))
    assert trace(ready, "egress") == ["dropped: the wire is held"]
    ready.apply(wire(me, state=WireState.OPEN))
    assert trace(ready, "egress") == ["passes uninspected: the wire is open"]
    ready.apply(wire(me), released=frozenset({me}))
    assert trace(ready, "ingress") == ["passes uninspected: the wire is open"]


def test_bad_questions_are_refused_in_a_sentence(ready: Server):
    with pytest.raises(ValueError, match="a frame has at least 14 bytes"):
        trace(ready, "egress", b"short")
    with pytest.raises(ValueError, match="'sideways' is not a direction: egress or ingress"):
        trace(ready, "sideways")
    with ready.inside(), pytest.raises(ValueError, match="there is no interface 777"):
        ready.steering.trace(777, "egress", PACKET)
