"""What a guest, an appliance or a stranger on the fabric might try, and where it gets."""

import struct

import pytest

from outrider.domain.intent import Peer
from outrider.domain.wire import Direction, Hop
from outrider.domain.wire import Path as WirePath
from outrider.steering.marks import DEFAULT_MARK_MASK, MarkFields
from outrider.steering.trace import with_lane

from .servers import CLIENT_MAC, GUEST_MAC, Server, vnic, wire
from .stage import Stage, frame

pytestmark = pytest.mark.system

LANE = 101


@pytest.fixture
def ready(server: Server) -> Server:
    me = server.add_guest(1)
    server.add_guest(2)
    server.add_client()
    server.add_appliance("nul")
    server.apply(wire(me, server.local_path(7, "nul", LANE)), wire(vnic(2), server.local_path(8, "nul", 102)))
    return server


def test_a_guests_own_tags_ride_inside_its_lane_and_come_out_as_they_were(ready: Server, stage: Stage):
    guest, client = stage.station("g1", "eth0"), stage.station("c200", "eth0")
    inport = stage.station("v-nul", "in")
    for tags in ((102,), (LANE,), (4094,), (5, 6)):
        sent = frame(GUEST_MAC, CLIENT_MAC, b"tag%d-%d" % (len(tags), tags[0]), *tags)
        guest.send(sent)
        assert inport.receive(b"tag%d-%d" % (len(tags), tags[0])) == with_lane(sent, LANE)
        assert client.receive(b"tag%d-%d" % (len(tags), tags[0])) == sent
    assert ready.frames(vnic(2), "passed_egress") == 0


def test_an_appliance_gets_nothing_out_on_a_lane_it_was_not_given(ready: Server, stage: Stage):
    outport, client, guest = stage.station("v-nul", "out"), stage.station("c200", "eth0"), stage.station("g1", "eth0")
    for tags in ((), (103,), (0,), (4095,)):
        outport.send(frame(GUEST_MAC, CLIENT_MAC, b"forged", *tags))
    assert client.receive(b"forged", 0.2) is None
    assert guest.receive(b"forged", 0.05) is None
    counts = ready.steering.appliance_counters(ready.ifindex("nul-out"))
    assert counts["refused_out"].frames == 4
    assert counts["left"].frames == 0


def test_an_appliance_on_its_lane_can_reach_only_that_lanes_wire(ready: Server, stage: Stage):
    inport, guest, other = stage.station("v-nul", "in"), stage.station("g1", "eth0"), stage.station("g2", "eth0")
    inport.send(frame(CLIENT_MAC, "02:00:00:00:01:02", b"sidewise", LANE))
    assert guest.receive(b"sidewise") is not None
    assert other.receive(b"sidewise", 0.1) is None


def test_nothing_but_our_frames_enters_an_appliance(ready: Server, stage: Stage):
    host, inside = stage.station("s1", "nul-in"), stage.station("v-nul", "in")
    for tags in ((), (LANE,)):
        with pytest.raises(OSError, match="No buffer space"):
            host.send(frame(GUEST_MAC, CLIENT_MAC, b"foreign", *tags))
    assert inside.receive(b"foreign", 0.1) is None
    assert ready.steering.appliance_counters(ready.ifindex("nul-in"))["refused_in"].frames == 2


def test_a_probe_enters_and_is_dropped_behind_its_prover(ready: Server, stage: Stage):
    inport, outport, client = (
        stage.station("s1", "nul-in"),
        stage.station("s1", "nul-out"),
        stage.station("c200", "eth0"),
    )
    inport.mark(ready.steering.entering_mark)
    probe = frame(GUEST_MAC, CLIENT_MAC, b"probe", 4094)
    inport.send(probe)
    assert outport.receive(b"probe") == probe
    assert client.receive(b"probe", 0.1) is None
    assert ready.steering.appliance_counters(ready.ifindex("nul-out"))["probe"].frames == 1


def test_a_mark_of_another_wire_direction_or_incarnation_opens_nothing(ready: Server, stage: Stage):
    client, port, guest = stage.station("c200", "eth0"), stage.station("s1", "vnic1"), stage.station("g1", "eth0")
    fields = MarkFields.of(DEFAULT_MARK_MASK)
    slot, epoch = 0, 1  # of the first guest on a fresh server
    for mark in (
        fields.of_wire(slot + 1, epoch, Direction.INGRESS),
        fields.of_wire(slot, epoch, Direction.EGRESS),
        fields.of_wire(slot, epoch + 1, Direction.INGRESS),
    ):
        port.mark(mark)
        with pytest.raises(OSError, match="No buffer space"):
            port.send(frame(CLIENT_MAC, GUEST_MAC, b"marked"))
    assert guest.receive(b"marked", 0.1) is None
    assert client.receive(b"marked", 0.05) is None
    assert ready.frames(vnic(1), "stale_mark_ingress") == 3
    port.mark(fields.of_wire(slot, epoch, Direction.INGRESS))
    port.send(frame(CLIENT_MAC, GUEST_MAC, b"right"))
    assert guest.receive(b"right") is not None, "or the three above prove nothing"


def test_a_frame_on_its_way_into_an_appliance_that_comes_round_is_dropped(ready: Server, stage: Stage):
    port = stage.station("s1", "vnic1")
    port.mark(ready.steering.entering_mark)
    with pytest.raises(OSError, match="No buffer space"):
        port.send(frame(CLIENT_MAC, GUEST_MAC, b"round"))
    assert ready.frames(vnic(1), "loop_ingress") == 1


def vxlan_from(source: tuple[int, ...], target: tuple[int, ...], identifier: int, inner: bytes) -> bytes:
    """An IPv4 packet that claims to come from another server's tunnel (RFC 7348)."""
    body = struct.pack(">II", 0x0800_0000, identifier << 8) + inner
    udp = struct.pack(">HHHH", 40_000, 4790, 8 + len(body), 0) + body
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes(source), bytes(target))
    total = sum(struct.unpack(">10H", header))
    return header[:10] + struct.pack(">H", ~(total % 0xFFFF) & 0xFFFF) + header[12:] + udp


def test_vxlan_that_a_guest_sends_in_a_peers_name_reaches_no_key(ready: Server, stage: Stage):
    """A host takes packets for any of its addresses on any interface, so a peer's address proves nothing by itself."""
    ready.add_tunnel(1)
    stage.sh("s1", "ip addr add 10.9.0.254/24 dev br0")
    stage.sh("s1", "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.br0.rp_filter=0")
    path = WirePath(9, (Hop("far", "s2", 5, 12),))
    ready.apply(wire(vnic(1), ready.local_path(7, "nul", LANE)), wire(vnic(2), path), peers=(Peer("s2", "10.8.0.2"),))
    bridge_mac = stage.sh("s1", "cat /sys/class/net/br0/address").strip()
    guest, other = stage.station("g1", "eth0"), stage.station("g2", "eth0")
    inner = frame(CLIENT_MAC, "02:00:00:00:01:02", b"forged")
    for address in ((10, 8, 0, 1), (10, 9, 0, 254)):
        packet = vxlan_from((10, 8, 0, 2), address, 25, inner)
        guest.send(frame(GUEST_MAC, bridge_mac, packet, kind=0x0800))
    assert other.receive(b"forged", 0.3) is None
    assert ready.steering.drops()["not-underlay"].frames == 2


def test_vxlan_that_a_guest_sends_in_its_own_name_reaches_no_key_either(ready: Server, stage: Stage):
    ready.add_tunnel(1)
    stage.sh("s1", "ip addr add 10.9.0.254/24 dev br0")
    bridge_mac = stage.sh("s1", "cat /sys/class/net/br0/address").strip()
    packet = vxlan_from((10, 9, 0, 1), (10, 9, 0, 254), 24, frame(GUEST_MAC, CLIENT_MAC, b"forged"))
    stage.station("g1", "eth0").send(frame(GUEST_MAC, bridge_mac, packet, kind=0x0800))
    assert stage.station("c200", "eth0").receive(b"forged", 0.2) is None
    assert ready.steering.drops()["not-underlay"].frames == 1
