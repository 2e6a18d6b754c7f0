"""What every kernel must do with the programs. Each function is one scenario, and its name is the sentence.

This file is read on both sides: inside it is played, outside its list says which results must be there.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kernels.inside.plays import (
    CLIENT,
    CLSACT,
    GUEST,
    PROGRAMS,
    TCX,
    Scenario,
    attached,
    pattern,
    programs_of_ours,
    qdiscs,
    server_with_guest,
    stage_set,
    stream,
)
from outrider.domain.intent import Peer, ServiceIntent
from outrider.domain.wire import Hop, OpenReason, WireState
from outrider.domain.wire import Path as WirePath
from outrider.steering import syscall
from outrider.steering.backend import EbpfSteering, PortRefused
from steering.servers import CLIENT_MAC, GUEST_MAC, Server, talk, wire
from steering.stage import Stage, frame

LANE, KEY = 101, 12
STREAM_BYTES = 1 << 20
FULL_SIZE_TAGS: tuple[tuple[int, ...], ...] = ((), (77,))
_ALL: list[Scenario] = []
Facts = dict[str, Any]


def scenario(only: str | None = None) -> Callable[[Callable[[str], Facts | None]], Callable[[str], Facts | None]]:
    """Take a function in; ``only`` names the kind of hooks without which its question makes no sense."""

    def take(play: Callable[[str], Facts | None]) -> Callable[[str], Facts | None]:
        _ALL.append(Scenario(play.__name__, play, only))
        return play

    return take


def scenarios_for(hooks: str) -> list[Scenario]:
    """The scenarios for kernels with this kind of hooks, in order."""
    return [each for each in _ALL if each.only in (None, hooks)]


# -- loading and attaching


@scenario()
def the_programs_load_at_full_size_and_choose_their_hooks(hooks: str) -> Facts:
    started = time.monotonic()
    steering = EbpfSteering("s1", cache_dir=PROGRAMS)
    took = time.monotonic() - started
    (condition,) = steering.conditions()
    steering.close()
    assert condition.status and f"attached by {hooks}" in condition.reason, condition
    return {"load_s": round(took, 3), "reason": condition.reason}


@scenario()
def an_armed_port_carries_one_program_each_way_and_passes_nothing(hooks: str) -> None:
    with server_with_guest() as (stage, server, _):
        assert attached(server, "vnic1", hooks) == (["or_from_guest"], ["or_to_guest"])
        assert ("clsact" in qdiscs(server, "vnic1")) == (hooks == CLSACT)
        assert talk(stage, count=1) == (0, 0)
        with server.inside():
            drops = server.steering.drops()
        assert drops["held"].frames == 2, drops


@scenario(only=CLSACT)
def a_port_with_an_ingress_qdisc_is_refused_with_the_reason(hooks: str) -> Facts:
    with server_with_guest(arm=False) as (stage, server, _):
        stage.sh("s1", "tc qdisc add dev vnic1 ingress")
        try:
            with server.inside():
                server.steering.arm(server.ifindex("vnic1"))
        except PortRefused as refusal:
            assert "vnic1 has an ingress qdisc" in str(refusal), refusal
        else:
            raise AssertionError("the port was armed")
        assert attached(server, "vnic1", hooks) == ([], [])
        assert "ingress" in qdiscs(server, "vnic1"), "the operator's qdisc is gone"
        return {"reason": str(refusal_text(server))}


def refusal_text(server: Server) -> str:
    """What arming the port says."""
    try:
        with server.inside():
            server.steering.arm(server.ifindex("vnic1"))
    except PortRefused as refusal:
        return str(refusal)
    return ""


@scenario(only=TCX)
def a_port_with_an_ingress_qdisc_is_steered_all_the_same(hooks: str) -> None:
    with server_with_guest(arm=False) as (stage, server, me):
        stage.sh("s1", "tc qdisc add dev vnic1 ingress")
        with server.inside():
            server.steering.arm(server.ifindex("vnic1"))
        server.apply(wire(me, server.local_path(1, "nul", LANE)))
        assert talk(stage) == (3, 3)


@scenario()
def an_operators_filter_still_sees_its_packets(hooks: str) -> None:
    with server_with_guest(arm=False) as (stage, server, me):
        stage.sh("s1", "tc qdisc add dev vnic1 clsact")
        for side in ("ingress", "egress"):
            stage.sh("s1", f"tc filter add dev vnic1 {side} pref 10 matchall action gact ok")
        with server.inside():
            server.steering.arm(server.ifindex("vnic1"))
        server.apply(wire(me, server.local_path(1, "nul", LANE)))
        assert talk(stage) == (3, 3)
        for side in ("ingress", "egress"):
            shown = stage.sh("s1", f"tc -s filter show dev vnic1 {side}")
            assert " 3 pkt" in shown, shown
        with server.inside():
            server.steering.release_port(server.ifindex("vnic1"))
        assert "matchall" in stage.sh("s1", "tc filter show dev vnic1 egress"), "the operator's filter is gone"


# -- packets


@scenario()
def a_held_wire_passes_nothing(hooks: str) -> None:
    with server_with_guest() as (stage, server, me):
        server.apply(wire(me))
        assert talk(stage, count=1) == (0, 0)
        assert (server.frames(me, "held_egress"), server.frames(me, "held_ingress")) == (1, 1)


@scenario()
def an_open_wire_passes_both_ways_and_is_counted_apart(hooks: str) -> None:
    with server_with_guest() as (stage, server, me):
        server.apply(wire(me, state=WireState.OPEN, open_reason=OpenReason.NO_POLICY))
        assert talk(stage) == (3, 3)
        assert (server.frames(me, "opened_egress"), server.frames(me, "opened_ingress")) == (3, 3)
        assert server.frames(me, "passed_egress") == 0


@scenario()
def a_local_path_passes_both_ways_and_what_goes_in_comes_out(hooks: str) -> None:
    with server_with_guest() as (stage, server, me):
        server.apply(wire(me, server.local_path(1, "nul", LANE)))
        assert talk(stage) == (3, 3)
        for direction, entry, way_out in (("egress", "nul-in", "nul-out"), ("ingress", "nul-out", "nul-in")):
            entered = server.steering.appliance_counters(server.ifindex(entry))["entered"].frames
            left = server.steering.appliance_counters(server.ifindex(way_out))["left"].frames
            on_wire = server.frames(me, f"first_{direction}"), server.frames(me, f"passed_{direction}")
            assert (*on_wire, entered, left) == (3, 3, 3, 3), (direction, on_wire, entered, left)


def _full_size_frames_pass(stage: Stage) -> None:
    guest, client = stage.station(GUEST, "eth0"), stage.station(CLIENT, "eth0")
    for tags in FULL_SIZE_TAGS:
        out = frame(GUEST_MAC, CLIENT_MAC, b"full" + bytes(1496), *tags)
        guest.send(out)
        assert client.receive(b"full") == out, f"egress, tags {tags}"
        back = frame(CLIENT_MAC, GUEST_MAC, b"back" + bytes(1496), *tags)
        client.send(back)
        assert guest.receive(b"back") == back, f"ingress, tags {tags}"


@scenario()
def full_size_frames_pass_tagged_and_untagged(hooks: str) -> None:
    with server_with_guest() as (stage, server, me):
        server.apply(wire(me, server.local_path(1, "nul", LANE)))
        _full_size_frames_pass(stage)


def _first_equals_passed(server: Server) -> Facts:
    (me,) = server.guests
    names = ("first_egress", "passed_egress", "first_ingress", "passed_ingress")
    counts = {name: server.frames(me, name) for name in names}
    assert counts["first_egress"] == counts["passed_egress"] > STREAM_BYTES // 1460, counts
    assert counts["first_ingress"] == counts["passed_ingress"] > 0, counts
    return counts


@scenario()
def a_tcp_stream_with_offloads_arrives_whole(hooks: str) -> Facts:
    with server_with_guest() as (stage, server, me):
        server.apply(wire(me, server.local_path(1, "nul", LANE)))
        assert stream(stage, STREAM_BYTES) == pattern(STREAM_BYTES)
        return _first_equals_passed(server)


@scenario()
def a_tcp_stream_on_the_guests_own_vlan_device_arrives_whole(hooks: str) -> Facts:
    with server_with_guest() as (stage, server, me):
        server.apply(wire(me, server.local_path(1, "nul", LANE)))
        for home, number in ((GUEST, 1), (CLIENT, 200)):
            stage.sh(home, "ip link add link eth0 name eth0.77 type vlan id 77 && ip link set eth0.77 up")
            stage.sh(home, f"ip addr add 10.77.0.{number}/24 dev eth0.77")
        assert stream(stage, STREAM_BYTES, "10.77.0.200") == pattern(STREAM_BYTES)
        return _first_equals_passed(server)


@scenario()
def a_remote_hop_passes_both_ways_at_full_size(hooks: str) -> Facts:
    with stage_set() as stage:
        home, away = Server(stage, "s1", PROGRAMS), Server(stage, "s2", PROGRAMS)
        me = home.add_guest(1)
        home.add_client()
        away.add_appliance("nul")
        home.add_tunnel(1)
        away.add_tunnel(2)
        away.apply(services=(ServiceIntent(7, "nul", LANE, KEY, "s1", "10.8.0.1"),))
        home.apply(wire(me, WirePath(7, (Hop("nul", "s2", LANE, KEY),))), peers=(Peer("s2", "10.8.0.2"),))
        _full_size_frames_pass(stage)
        assert stream(stage, STREAM_BYTES) == pattern(STREAM_BYTES)
        counts = _first_equals_passed(home)
        inport = away.steering.appliance_counters(away.ifindex("nul-in"))
        assert inport["entered"].frames == counts["first_egress"], (inport, counts)
        assert inport["left"].frames == counts["first_ingress"], (inport, counts)
        home.steering.close()
        away.steering.close()
        return counts


@scenario()
def frames_on_a_lane_not_in_use_and_frames_not_ours_lead_nowhere(hooks: str) -> None:
    with server_with_guest() as (stage, server, me):
        server.apply(wire(me, server.local_path(1, "nul", LANE)))
        client = stage.station(CLIENT, "eth0")
        stage.station("v-nul", "out").send(frame(GUEST_MAC, CLIENT_MAC, b"forged", LANE + 1))
        stage.station("v-nul", "out").send(frame(GUEST_MAC, CLIENT_MAC, b"forged"))
        with suppress(OSError):  # how the kernel tells a sender that egress dropped its frame; the count tells us
            stage.station("s1", "nul-in").send(frame(GUEST_MAC, CLIENT_MAC, b"forged", LANE))
        assert client.receive(b"forged", 0.3) is None
        drops = server.steering.drops()
        assert (drops["unknown-lane"].frames, drops["not-ours"].frames) == (2, 1), drops


# -- looking after


@scenario()
def a_new_agent_takes_over_with_the_counters_as_they_were(hooks: str) -> None:
    with server_with_guest() as (stage, server, me):
        table = server.apply(wire(me, server.local_path(1, "nul", LANE)))
        assert talk(stage) == (3, 3)
        server.restart_agent()
        assert talk(stage) == (3, 3), "between two agents"
        with server.inside():
            server.steering.arm(server.ifindex("vnic1"))
            server.steering.guard_appliance_ports(server.ifindex("nul-in"), server.ifindex("nul-out"))
            server.steering.apply(table)
        assert server.steering.writes == 0, "the same table was written again"
        assert talk(stage) == (3, 3)
        assert server.frames(me, "passed_egress") == 9
        assert attached(server, "vnic1", hooks) == (["or_from_guest"], ["or_to_guest"])


@scenario()
def a_program_taken_off_is_put_back_by_verify(hooks: str) -> Facts:
    with server_with_guest() as (stage, server, me):
        server.apply(wire(me, server.local_path(1, "nul", LANE)))
        with server.inside():
            assert list(server.steering.verify()) == []
            _take_off_ingress(server, hooks)
            said = list(server.steering.verify())
        assert len(said) == 1, said
        assert attached(server, "vnic1", hooks) == (["or_from_guest"], ["or_to_guest"])
        assert talk(stage) == (3, 3)
        return {"said": said}


def _take_off_ingress(server: Server, hooks: str) -> None:
    if hooks == CLSACT:
        server.stage.sh("s1", "tc filter del dev vnic1 ingress")
        return
    ifindex = server.ifindex("vnic1")
    (number,) = syscall.query(ifindex, syscall.TCX_INGRESS)
    fd = syscall.program_fd(number)
    syscall.detach(ifindex, syscall.TCX_INGRESS, fd)
    syscall.close_all([fd])


@scenario()
def the_live_programs_tell_where_a_frame_would_go(hooks: str) -> Facts:
    with server_with_guest() as (_, server, me):
        server.apply(wire(me, server.local_path(1, "nul", LANE)))
        with server.inside():
            told = server.steering.trace(server.ifindex("vnic1"), "egress", frame(GUEST_MAC, CLIENT_MAC, b"what if"))
        assert any(f"lane {LANE}" in line for line in told), told
        assert server.frames(me, "first_egress") == 0, "asking was counted"
        return {"told": told}


@scenario()
def released_ports_keep_nothing_of_ours_and_pass_packets_as_before(hooks: str) -> None:
    with server_with_guest() as (stage, server, me):
        before = list(qdiscs(server, "client200"))
        server.apply(wire(me, server.local_path(1, "nul", LANE)))
        assert talk(stage) == (3, 3)
        with server.inside():
            for port in ("vnic1", "nul-in", "nul-out"):
                server.steering.release_port(server.ifindex(port))
        for port in ("vnic1", "nul-in", "nul-out"):
            assert qdiscs(server, port) == before, port
            assert attached(server, port, hooks) == ([], []), port
        assert talk(stage) == (3, 3)
    deadline = time.monotonic() + 5
    while (left := programs_of_ours()) and time.monotonic() < deadline:
        time.sleep(0.05)  # programs are freed after a grace period of the kernel's
    assert left == []
