"""Packets whose appliance is on another server: through the tunnel, and back to their own fabric."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from outrider.domain.intent import Peer, ServiceIntent
from outrider.domain.wire import Hop
from outrider.domain.wire import Path as WirePath

from .servers import CLIENT_MAC, GUEST_MAC, Server, talk, wire
from .stage import Stage, frame

pytestmark = pytest.mark.system

KEY, LANE = 12, 101


@dataclass
class Two:
    """The guest's server and the appliance's."""

    home: Server
    away: Server

    def put_in_place(self) -> None:
        me = next(iter(self.home.guests))
        path = WirePath(7, (Hop("nul", "s2", LANE, KEY),))
        self.away.apply(services=(ServiceIntent(7, "nul", LANE, KEY, "s1", "10.8.0.1"),))
        self.home.apply(wire(me, path), peers=(Peer("s2", "10.8.0.2"),))


@pytest.fixture
def two(stage: Stage, cache: Path) -> Iterator[Two]:
    home, away = Server(stage, "s1", cache), Server(stage, "s2", cache)
    home.add_guest(1)
    home.add_client()
    away.add_appliance("nul")
    home.add_tunnel(1)
    away.add_tunnel(2)
    yield Two(home, away)
    home.steering.close()
    away.steering.close()


def test_a_guest_is_inspected_on_another_server_and_stays_on_its_own_fabric(two: Two, stage: Stage):
    two.put_in_place()
    me = next(iter(two.home.guests))
    assert talk(stage) == (3, 3)
    assert two.home.frames(me, "passed_egress") == two.home.frames(me, "passed_ingress") == 3
    inport = two.away.steering.appliance_counters(two.away.ifindex("nul-in"))
    assert (inport["entered"].frames, inport["left"].frames) == (3, 3)


def test_full_size_frames_fit_tagged_and_untagged(two: Two, stage: Stage):
    two.put_in_place()
    guest, client = stage.station("g1", "eth0"), stage.station("c200", "eth0")
    for tags in ((), (77,)):
        sent = frame(GUEST_MAC, CLIENT_MAC, b"full" + bytes(1496), *tags)
        guest.send(sent)
        assert client.receive(b"full") == sent


def test_a_server_that_is_no_peer_of_the_key_is_refused_and_counted(two: Two, stage: Stage, cache: Path):
    two.put_in_place()
    stranger = Server(stage, "s3", cache)
    stranger.add_tunnel(3)
    me = stranger.add_guest(3)
    stranger.apply(wire(me, WirePath(9, (Hop("nul", "s2", LANE, KEY),))), peers=(Peer("s2", "10.8.0.2"),))
    stage.station("g3", "eth0").send(frame(GUEST_MAC, CLIENT_MAC, b"forged"))
    assert stage.station("c200", "eth0").receive(b"forged", 0.2) is None
    assert two.away.steering.drops()["unknown-peer"].frames == 1
    assert two.away.steering.appliance_counters(two.away.ifindex("nul-in"))["entered"].frames == 0
    stranger.steering.close()


def test_a_key_that_is_not_in_use_leads_nowhere_and_is_counted(two: Two, stage: Stage):
    two.put_in_place()
    two.away.apply()
    stage.station("g1", "eth0").send(frame(GUEST_MAC, CLIENT_MAC, b"late"))
    assert stage.station("c200", "eth0").receive(b"late", 0.2) is None
    assert two.away.steering.drops()["unknown-key"].frames == 1


def test_nothing_of_the_hosts_own_leaves_by_the_tunnel(two: Two, stage: Stage):
    with pytest.raises(OSError, match="No buffer space"):  # how the kernel tells a sender of a drop on egress
        stage.station("s1", "or-tunnel").send(frame(GUEST_MAC, CLIENT_MAC, b"host"))
    assert two.home.steering.drops()["not-ours"].frames == 1
