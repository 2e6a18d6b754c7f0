"""Ports: what happens to packets while agents come and go, and what else on a port is left alone."""

import subprocess
import threading
import time
from pathlib import Path

import pytest

from outrider.domain.wire import WireState
from outrider.steering import clsact, syscall
from outrider.steering.attachment import PortRefused
from outrider.steering.libbpf import open_object

from .servers import CLIENT_MAC, GUEST_MAC, Server, talk, vnic, wire
from .stage import Stage, frame, inside

pytestmark = pytest.mark.system


@pytest.fixture(params=["tcx", "clsact"])
def any_server(request: pytest.FixtureRequest, stage: Stage, cache: Path):
    server = Server(stage, "s1", cache, force_clsact=request.param == "clsact")
    yield server
    server.steering.close()


def in_place(server: Server):
    me = server.add_guest(1)
    server.add_client()
    server.add_appliance("nul")
    server.apply(wire(me, server.local_path(7, "nul", 101)))
    return me


def test_packets_take_their_path_under_tcx_and_under_clsact(any_server: Server, stage: Stage):
    me = in_place(any_server)
    assert talk(stage) == (3, 3)
    assert any_server.frames(me, "passed_egress") == any_server.frames(me, "passed_ingress") == 3


def test_arming_twice_and_the_same_table_again_change_nothing(any_server: Server):
    in_place(any_server)
    before = any_server.steering.writes
    with any_server.inside():
        any_server.steering.arm(any_server.ifindex("vnic1"))
        any_server.steering.guard_appliance_ports(any_server.ifindex("nul-in"), any_server.ifindex("nul-out"))
    me = vnic(1)
    any_server.apply(wire(me, any_server.local_path(7, "nul", 101)))
    assert any_server.steering.writes == before
    with any_server.inside():
        assert any_server.steering.verify() == []


def test_an_agents_restart_in_a_running_flood_loses_no_packet(any_server: Server, stage: Stage):
    me = in_place(any_server)
    guest, client = stage.station("g1", "eth0"), stage.station("c200", "eth0")
    sent, stop = 0, threading.Event()
    flood = frame(GUEST_MAC, CLIENT_MAC, b"flood")

    def send():
        nonlocal sent
        while not stop.is_set():
            guest.send(flood)
            sent += 1
            time.sleep(0.0001)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for _ in range(3):
            any_server.restart_agent()
            with any_server.inside():
                any_server.steering.arm(any_server.ifindex("vnic1"))
                any_server.steering.guard_appliance_ports(any_server.ifindex("nul-in"), any_server.ifindex("nul-out"))
            any_server.apply(wire(me, any_server.local_path(7, "nul", 101)))
            assert any_server.steering.writes == 0
    finally:
        stop.set()
        sender.join()
    received = 0
    while client.receive(b"flood", 0.2):
        received += 1
    assert sent > 100, "a flood, however slow the machine"
    assert received == sent
    assert any_server.frames(me, "first_egress") == any_server.frames(me, "passed_egress") == sent


def test_a_port_that_still_carries_another_servers_programs_gets_ours_instead(stage: Stage, cache: Path):
    former, server = Server(stage, "s1", cache), Server(stage, "s2", cache)
    me = former.add_guest(1)
    former.add_client()
    former.apply(wire(me, state=WireState.OPEN))
    stage.sh("s1", f"ip link set vnic1 netns {stage.namespace('s2')}")
    stage.sh("s2", "ip link set vnic1 master br0 up")
    with server.inside():
        server.steering.arm(server.ifindex("vnic1"))
        assert server.steering.verify() == []
    stage.sh("g1", "ip link set eth0 up")
    guest = stage.station("g1", "eth0")
    server.guests[me] = "vnic1"
    server.apply(wire(me))
    guest.send(frame(GUEST_MAC, CLIENT_MAC, b"hello"))
    assert server.frames(me, "held_egress") == 1
    with former.inside():
        former.steering.verify()
    assert former.frames(me, "first_egress") == 0
    former.steering.close()
    server.steering.close()


def load_foreign(cache: Path) -> dict[str, int]:
    """An operator's own program that counts what it sees and has no opinion: its descriptor, and its counter's."""
    source = cache / "foreign.bpf.c"
    source.write_text(
        "unsigned long long seen;\n"
        '__attribute__((section("tc"), used)) int foreign(void *c) { __sync_fetch_and_add(&seen, 1); return -1; }\n'
        'char _license[] __attribute__((section("license"), used)) = "GPL";\n'
    )
    compiled = source.with_suffix(".o")
    subprocess.run(["clang", "-O2", "-g", "-target", "bpf", "-c", str(source), "-o", str(compiled)], check=True)
    with open_object(compiled) as opened:
        loaded = opened.load(("foreign",), (".bss",))
    return {**loaded.programs, **loaded.maps}


def test_programs_taken_off_or_pushed_back_are_put_in_place_again(server: Server, stage: Stage, cache: Path):
    in_place(server)
    fd = load_foreign(cache)["foreign"]
    with server.inside():
        port = server.ifindex("vnic1")
        syscall.attach(port, syscall.TCX_INGRESS, fd, syscall.F_BEFORE)
        assert server.steering.verify() == [f"or_from_guest on interface {port} was behind another program"]
        assert len(syscall.query(port, syscall.TCX_INGRESS)) == 2, "the other program is left where it is"
        assert server.steering.verify() == []
        ours = syscall.program_fd(syscall.query(port, syscall.TCX_EGRESS)[0])
        syscall.detach(port, syscall.TCX_EGRESS, ours)
        assert server.steering.verify() == [f"or_to_guest on interface {port} was not in its place"]
        assert server.steering.verify() == []
    syscall.close_all([fd, ours])
    assert talk(stage) == (3, 3)


def test_a_released_port_is_as_it_was_before(any_server: Server, stage: Stage):
    in_place(any_server)
    with any_server.inside():
        for port in ("vnic1", "nul-in", "nul-out"):
            any_server.steering.release_port(any_server.ifindex(port))
    assert "clsact" not in stage.sh("s1", "tc qdisc show")
    assert "or_" not in stage.sh("s1", "bpftool net show")
    assert talk(stage) == (3, 3)


def test_an_operators_own_filter_still_sees_its_packets(any_server: Server, stage: Stage, cache: Path):
    in_place(any_server)
    stage.sh("s1", "tc qdisc add dev vnic1 clsact 2>/dev/null || true")
    seen = []
    with any_server.inside():
        for is_ingress in (True, False):
            loaded = load_foreign(cache)
            clsact.put(any_server.ifindex("vnic1"), is_ingress, loaded["foreign"], preference=7)
            seen.append(loaded[".bss"])
    assert talk(stage) == (3, 3)
    assert [int.from_bytes(syscall.lookup(fd, 0, 8), "little") for fd in seen] == [3, 3]


def test_a_port_with_an_ingress_qdisc_is_refused_without_tcx(stage: Stage, cache: Path):
    server = Server(stage, "s1", cache, force_clsact=True)
    server.add_guest(1, arm=False)
    stage.sh("s1", "tc qdisc add dev vnic1 ingress")
    with server.inside(), pytest.raises(PortRefused, match="has an ingress qdisc"):
        server.steering.arm(server.ifindex("vnic1"))
    server.steering.close()


def test_a_port_with_an_ingress_qdisc_is_steered_with_tcx(server: Server, stage: Stage):
    me = server.add_guest(1, arm=False)
    server.add_client()
    stage.sh("s1", "tc qdisc add dev vnic1 ingress")
    with server.inside():
        server.steering.arm(server.ifindex("vnic1"))
    server.apply(wire(me, state=WireState.OPEN))
    assert talk(stage) == (3, 3)


def test_ports_that_cannot_be_steered_are_refused_with_the_reason(server: Server):
    with server.inside():
        with pytest.raises(PortRefused, match="there is no interface 999"):
            server.steering.arm(999)
        with pytest.raises(PortRefused, match="beyond the 4096 this agent can steer"):
            server.steering.arm(5000)


def test_a_port_that_went_is_forgotten_and_its_number_means_nothing(server: Server, stage: Stage):
    me = in_place(server)
    stage.sh("s1", "ip link del vnic1")
    with server.inside():
        assert server.steering.verify() == []
    del server.guests[me]
    server.apply()
    assert server.frames(me, "first_egress") == 0


def test_first_pass_equals_what_the_port_received(server: Server, stage: Stage):
    me = in_place(server)
    talk(stage, count=20)
    received = int(stage.sh("s1", "cat /sys/class/net/vnic1/statistics/rx_packets"))
    assert server.frames(me, "received_buffers") == received == 20


def test_without_bpffs_or_any_agent_the_port_stays_as_it_is(server: Server, stage: Stage):
    me = in_place(server)
    server.apply(wire(me))
    server.steering.close()
    guest, client = stage.station("g1", "eth0"), stage.station("c200", "eth0")
    guest.send(frame(GUEST_MAC, CLIENT_MAC, b"alone"))
    assert client.receive(b"alone", 0.2) is None
    server.steering = server.start_agent()
    with inside(stage.namespace("s1")):
        server.steering.arm(server.ifindex("vnic1"))
    server.apply(wire(me))
    assert server.frames(me, "held_egress") == 1


def test_nothing_reaches_a_guest_before_it_has_spoken_from_here(server: Server, stage: Stage):
    me = in_place(server)
    server.apply(wire(me, server.local_path(7, "nul", 101), await_announcement=True))
    guest, client = stage.station("g1", "eth0"), stage.station("c200", "eth0")
    client.send(frame(CLIENT_MAC, GUEST_MAC, b"early"))
    assert guest.receive(b"early", 0.2) is None
    assert not server.steering.announced(me)
    assert server.frames(me, "awaiting_ingress") == 1
    guest.send(frame(GUEST_MAC, CLIENT_MAC, b"here I am"))
    assert client.receive(b"here I am") is not None
    assert server.steering.announced(me)
    client.send(frame(CLIENT_MAC, GUEST_MAC, b"later"))
    assert guest.receive(b"later") is not None


def test_ports_that_went_while_no_agent_looked_are_given_back(server: Server, stage: Stage):
    me = in_place(server)
    gone = server.ifindex("vnic1")
    stage.sh("s1", "ip link del vnic1")
    server.restart_agent()
    with server.inside():
        server.steering.guard_appliance_ports(server.ifindex("nul-in"), server.ifindex("nul-out"))
    del server.guests[me]
    server.apply()
    assert server.steering._tables.ports.load(gone) == 0
    assert server.steering._wires.ports() == []


def test_another_incarnation_of_a_port_has_another_mark_and_counts_from_zero(server: Server, stage: Stage):
    me = in_place(server)
    assert talk(stage) == (3, 3)
    port = server.ifindex("vnic1")
    before = server.steering._wires.wire_place(port)
    with server.inside():
        server.steering.release_port(port)
        server.steering.arm(port)
    assert server.steering._wires.wire_place(port) != before
    assert server.frames(me, "first_egress") == 0
    guest, client = stage.station("g1", "eth0"), stage.station("c200", "eth0")
    guest.send(frame(GUEST_MAC, CLIENT_MAC, b"unknown yet"))
    assert client.receive(b"unknown yet", 0.2) is None, "held until the next table"


def test_more_ports_than_there_are_slots_are_refused(stage: Stage, cache: Path):
    from outrider.steering.backend import EbpfSteering
    from outrider.steering.tables import Sizes

    stage.pair(("s1", "one"), ("s1", "two"))
    with inside(stage.namespace("s1")):
        steering = EbpfSteering("s1", cache_dir=cache, sizes=Sizes(1 << 12, 1, 1, 16, 16))
        steering.arm(stage.ifindex("s1", "one"))
        with pytest.raises(PortRefused, match="all 1 wire slots of this server are in use"):
            steering.arm(stage.ifindex("s1", "two"))
        with pytest.raises(PortRefused, match="all 1 appliance port slots of this server are in use"):
            steering.guard_appliance_ports(stage.ifindex("s1", "two"), stage.ifindex("s1", "one"))
        steering.close()


def test_mounting_and_unmounting_bpffs_changes_nothing(server: Server, stage: Stage):
    in_place(server)
    stage.sh("s1", "unshare -m sh -c 'mkdir -p /run/ora-bpf && mount -t bpf bpf /run/ora-bpf && umount /run/ora-bpf'")
    stage.sh("s1", "rmdir /run/ora-bpf")
    with server.inside():
        assert server.steering.verify() == []
    assert talk(stage) == (3, 3)
