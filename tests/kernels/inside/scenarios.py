"""What every kernel must do with the programs. Each function is one scenario, and its name is the sentence.

This file is read on both sides: inside it is played, in this order; outside its list says which results must be there.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any

from kernels.inside.plays import (
    CLIENT,
    CLSACT,
    GUEST,
    PROGRAMS,
    TCX,
    Scenario,
    World,
    attached,
    pattern,
    programs_of_ours,
    qdiscs,
    stream,
)
from outrider.domain.guest import VnicId
from outrider.domain.intent import Peer, ServiceIntent
from outrider.domain.wire import Hop, OpenReason, WireState
from outrider.domain.wire import Path as WirePath
from outrider.steering import syscall
from outrider.steering.backend import EbpfSteering, PortRefused
from steering.servers import CLIENT_MAC, GUEST_MAC, Server, talk, wire
from steering.stage import frame

LANE, KEY = 101, 12
STREAM_BYTES = 1 << 20
FULL_SIZE_TAGS: tuple[tuple[int, ...], ...] = ((), (77,))
Facts = dict[str, Any]
Play = Callable[[World], Facts | None]
_ALL: list[Scenario] = []


def scenario(only: str | None = None) -> Callable[[Play], Play]:
    """Take a function in; ``only`` names the kind of hooks without which its question makes no sense."""

    def take(play: Play) -> Play:
        _ALL.append(Scenario(play.__name__, play, only))
        return play

    return take


def scenarios_for(hooks: str) -> list[Scenario]:
    """The scenarios for kernels with this kind of hooks, in order."""
    return [each for each in _ALL if each.only in (None, hooks)]


# -- loading and attaching


@scenario()
def the_programs_load_at_full_size_and_choose_their_hooks(world: World) -> Facts:
    started = time.monotonic()
    steering = EbpfSteering("s9", cache_dir=PROGRAMS)
    took = time.monotonic() - started
    (condition,) = steering.conditions()
    steering.close()
    assert condition.status and f"attached by {world.hooks}" in condition.reason, condition
    return {"load_s": round(took, 3), "reason": condition.reason}


@scenario()
def an_armed_port_carries_one_program_each_way_and_passes_nothing(world: World) -> None:
    assert attached(world.server, "vnic1", world.hooks) == (["or_from_guest"], ["or_to_guest"])
    assert ("clsact" in qdiscs(world.server, "vnic1")) == (world.hooks == CLSACT)
    world.put(None)
    _nothing_passes(world)


@scenario(only=CLSACT)
def a_port_with_an_ingress_qdisc_is_refused_with_the_reason(world: World) -> Facts:
    server = world.server
    me = server.add_guest(2, arm=False)
    world.stage.sh("s1", "tc qdisc add dev vnic2 ingress")
    said = ""
    with server.inside():
        try:
            server.steering.arm(server.ifindex("vnic2"))
        except PortRefused as refusal:
            said = str(refusal)
    assert "vnic2 has an ingress qdisc" in said, said or "it was armed"
    assert attached(server, "vnic2", world.hooks) == ([], [])
    assert "ingress" in qdiscs(server, "vnic2"), "the operator's qdisc is gone"
    _unplug(world, me)
    return {"reason": said}


@scenario(only=TCX)
def a_port_with_an_ingress_qdisc_is_steered_all_the_same(world: World) -> None:
    server = world.server
    me = server.add_guest(2, arm=False)
    world.stage.sh("s1", "tc qdisc add dev vnic2 ingress")
    with server.inside():
        server.steering.arm(server.ifindex("vnic2"))
    server.apply(wire(me, server.local_path(2, "nul", LANE)))
    assert talk(world.stage, "g2") == (3, 3)
    assert server.frames(me, "passed_egress") == 3
    _release(server, "vnic2")
    _unplug(world, me)


@scenario()
def an_operators_filter_still_sees_its_packets(world: World) -> None:
    server = world.server
    me = server.add_guest(3, arm=False)
    world.stage.sh("s1", "tc qdisc add dev vnic3 clsact")
    for side in ("ingress", "egress"):
        world.stage.sh("s1", f"tc filter add dev vnic3 {side} pref 10 matchall action gact ok")
    with server.inside():
        server.steering.arm(server.ifindex("vnic3"))
    server.apply(wire(me, server.local_path(3, "nul", LANE)))
    assert talk(world.stage, "g3") == (3, 3)
    for side in ("ingress", "egress"):
        shown = world.stage.sh("s1", f"tc -s filter show dev vnic3 {side}")
        assert " 3 pkt" in shown, shown
    _release(server, "vnic3")
    for side in ("ingress", "egress"):
        shown = world.stage.sh("s1", f"tc filter show dev vnic3 {side}")
        assert "matchall" in shown and "or_" not in shown, shown
    _unplug(world, me)


def _unplug(world: World, me: VnicId) -> None:
    """The guest goes: the fabric forgets where it saw the address that all guests here send from."""
    world.stage.sh("s1", f"ip link delete {world.server.guests.pop(me)}")


def _release(server: Server, *ports: str) -> None:
    with server.inside():
        for port in ports:
            server.steering.release_port(server.ifindex(port))


# -- packets


@scenario()
def a_held_wire_passes_nothing(world: World) -> None:
    world.put(wire(world.me))
    counted = _nothing_passes(world)
    assert (counted["held_egress"], counted["held_ingress"]) == (1, 1), counted


def _nothing_passes(world: World) -> dict[str, int]:
    """Send one frame each way; both are dropped and neither arrives. What was counted."""
    guest, client = world.stage.station(GUEST, "eth0"), world.stage.station(CLIENT, "eth0")
    guest.send(frame(GUEST_MAC, CLIENT_MAC, b"stopped"))
    client.send(frame(CLIENT_MAC, GUEST_MAC, b"stopped"))
    counted = world.counted_when(lambda now: _drops(now) == 2)
    assert guest.receive(b"stopped", 0.1) is None and client.receive(b"stopped", 0.1) is None
    return counted


def _drops(counted: dict[str, int]) -> int:
    return sum(frames for name, frames in counted.items() if name.startswith("drop-"))


@scenario()
def an_open_wire_passes_both_ways_and_is_counted_apart(world: World) -> None:
    world.put(wire(world.me, state=WireState.OPEN, open_reason=OpenReason.NO_POLICY))
    assert talk(world.stage) == (3, 3)
    counted = world.counted()
    assert (counted["opened_egress"], counted["opened_ingress"], counted["passed_egress"]) == (3, 3, 0), counted


@scenario()
def a_local_path_passes_both_ways_and_what_goes_in_comes_out(world: World) -> None:
    world.put_on_path(LANE)
    assert talk(world.stage) == (3, 3)
    counted = world.counted()
    egress = ("first_egress", "in-entered", "out-left", "passed_egress")
    ingress = ("first_ingress", "out-entered", "in-left", "passed_ingress")
    assert [counted[name] for name in (*egress, *ingress)] == [3] * 8, counted


@scenario()
def full_size_frames_pass_tagged_and_untagged(world: World) -> None:
    world.put_on_path(LANE)
    _pass_full_size_frames(world)


def _pass_full_size_frames(world: World) -> None:
    guest, client = world.stage.station(GUEST, "eth0"), world.stage.station(CLIENT, "eth0")
    for tags in FULL_SIZE_TAGS:
        out = frame(GUEST_MAC, CLIENT_MAC, b"full" + bytes(1496), *tags)
        guest.send(out)
        assert client.receive(b"full") == out, f"egress, tags {tags}"
        back = frame(CLIENT_MAC, GUEST_MAC, b"back" + bytes(1496), *tags)
        client.send(back)
        assert guest.receive(b"back") == back, f"ingress, tags {tags}"


@scenario()
def a_tcp_stream_with_offloads_arrives_whole(world: World) -> Facts:
    world.put_on_path(LANE)
    assert stream(world.stage, STREAM_BYTES) == pattern(STREAM_BYTES)
    return _first_equals_passed(world)


@scenario()
def a_tcp_stream_on_the_guests_own_vlan_device_arrives_whole(world: World) -> Facts:
    world.put_on_path(LANE)
    for home, number in ((GUEST, 1), (CLIENT, 200)):
        world.stage.sh(home, "ip link add link eth0 name eth0.77 type vlan id 77 && ip link set eth0.77 up")
        world.stage.sh(home, f"ip addr add 10.77.0.{number}/24 dev eth0.77")
    assert stream(world.stage, STREAM_BYTES, "10.77.0.200") == pattern(STREAM_BYTES)
    return _first_equals_passed(world)


def _first_equals_passed(world: World) -> Facts:
    counted = world.counted()
    names = ("first_egress", "passed_egress", "first_ingress", "passed_ingress")
    counts = {name: counted[name] for name in names}
    assert counts["first_egress"] == counts["passed_egress"] > STREAM_BYTES // 1460, counts
    assert counts["first_ingress"] == counts["passed_ingress"] > 0, counts
    return counts


@scenario()
def a_remote_hop_passes_both_ways_at_full_size(world: World) -> Facts:
    home, away = world.server, Server(world.stage, "s2", PROGRAMS)
    away.add_appliance("far")
    home.add_tunnel(1)
    away.add_tunnel(2)
    away.apply(services=(ServiceIntent(7, "far", LANE, KEY, "s1", "10.8.0.1"),))
    world.put(wire(world.me, WirePath(7, (Hop("far", "s2", LANE, KEY),))), peers=(Peer("s2", "10.8.0.2"),))
    _pass_full_size_frames(world)
    assert stream(world.stage, STREAM_BYTES) == pattern(STREAM_BYTES)
    counts = _first_equals_passed(world)
    inport = away.steering.appliance_counters(away.ifindex("far-in"))
    assert inport["entered"].frames == counts["first_egress"], (inport, counts)
    assert inport["left"].frames == counts["first_ingress"], (inport, counts)
    _release(away, "far-in", "far-out", "or-tunnel", "under")
    away.steering.close()
    return counts


@scenario()
def frames_on_a_lane_not_in_use_and_frames_not_ours_lead_nowhere(world: World) -> None:
    world.put_on_path(LANE)
    client = world.stage.station(CLIENT, "eth0")
    engine = world.stage.station("v-nul", "out")
    engine.send(frame(GUEST_MAC, CLIENT_MAC, b"forged", LANE + 1))
    engine.send(frame(GUEST_MAC, CLIENT_MAC, b"forged"))
    with contextlib.suppress(OSError):  # how the kernel tells a sender that its frame was dropped on egress
        world.stage.station("s1", "nul-in").send(frame(GUEST_MAC, CLIENT_MAC, b"forged", LANE))
    assert client.receive(b"forged", 0.3) is None
    counted = world.counted()
    assert (counted["drop-unknown-lane"], counted["drop-not-ours"]) == (2, 1), counted


# -- looking after


@scenario()
def a_new_agent_takes_over_with_the_counters_as_they_were(world: World) -> None:
    server = world.server
    table = world.put_on_path(LANE)
    assert talk(world.stage) == (3, 3)
    server.restart_agent()
    assert talk(world.stage) == (3, 3), "between two agents"
    with server.inside():
        server.steering.arm(server.ifindex("vnic1"))
        server.steering.guard_appliance_ports(server.ifindex("nul-in"), server.ifindex("nul-out"))
        server.steering.guard_tunnel(server.ifindex("or-tunnel"), server.ifindex("under"))
        server.steering.apply(table)
    assert server.steering.writes == 0, "the same table was written again"
    assert talk(world.stage) == (3, 3)
    assert world.counted()["passed_egress"] == 9
    assert attached(server, "vnic1", world.hooks) == (["or_from_guest"], ["or_to_guest"])


@scenario()
def a_program_taken_off_is_put_back_by_verify(world: World) -> Facts:
    server = world.server
    world.put_on_path(LANE)
    with server.inside():
        assert list(server.steering.verify()) == []
        _take_off_ingress(world)
        said = list(server.steering.verify())
    assert len(said) == 1, said
    assert attached(server, "vnic1", world.hooks) == (["or_from_guest"], ["or_to_guest"])
    assert talk(world.stage) == (3, 3)
    assert world.counted()["passed_egress"] == 3
    return {"said": said}


def _take_off_ingress(world: World) -> None:
    if world.hooks == CLSACT:
        world.stage.sh("s1", "tc filter del dev vnic1 ingress")
        return
    ifindex = world.server.ifindex("vnic1")
    (number,) = syscall.query(ifindex, syscall.TCX_INGRESS)
    fd = syscall.program_fd(number)
    syscall.detach(ifindex, syscall.TCX_INGRESS, fd)
    syscall.close_all([fd])


@scenario()
def the_live_programs_tell_where_a_frame_would_go(world: World) -> Facts:
    world.put_on_path(LANE)
    with world.server.inside():
        ifindex = world.server.ifindex("vnic1")
        told = world.server.steering.trace(ifindex, "egress", frame(GUEST_MAC, CLIENT_MAC, b"what if"))
    assert f"on lane {LANE}" in told[0] and told[-1].startswith("passes"), told
    assert world.counted()["first_egress"] == 0, "asking was counted"
    return {"told": told}


@scenario()
def released_ports_pass_packets_as_before_and_nothing_of_ours_is_left(world: World) -> None:
    server, ports = world.server, ("vnic1", "nul-in", "nul-out", "or-tunnel", "under")
    world.put_on_path(LANE)
    assert talk(world.stage) == (3, 3)
    _release(server, *ports)
    untouched = qdiscs(server, "client200")
    for port in ports:
        assert qdiscs(server, port) == untouched, port
        assert attached(server, port, world.hooks) == ([], []), port
    assert talk(world.stage) == (3, 3)
    server.steering.close()
    deadline = time.monotonic() + 10
    while (left := programs_of_ours()) and time.monotonic() < deadline:
        time.sleep(0.05)  # the kernel frees programs after a grace period, and says nothing when it has
    assert left == [], left
