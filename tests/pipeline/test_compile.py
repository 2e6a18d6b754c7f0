"""From intents to steering tables: which rows there are, and that no path is ever there by half."""

from dataclasses import replace

from outrider.domain.guest import VnicId
from outrider.domain.intent import Peer, ServerIntent, ServiceIntent, WireIntent
from outrider.domain.wire import Direction, Hop, OpenReason, Path, WireState
from outrider.pipeline.compile import LocalPorts, compile_table, tunnel_id
from outrider.pipeline.table import Deliver, Enter, KeyRow, LaneRow, Side, Tunnel

ME = VnicId("00000000-0000-0000-0000-000000000001", "02:00:00:00:01:01")
PORTS = LocalPorts({ME: 10}, {"ips-s1-1": (20, 21), "fw-s1-1": (30, 31)}, tunnel=40)
LOCAL = Path(7, (Hop("ips-s1-1", "s1", 101),))
REMOTE = Path(8, (Hop("ips-s2-1", "s2", 55, 12),))
PEERS = (Peer("s2", "10.8.0.2"),)
OUT, IN = Direction.EGRESS, Direction.INGRESS


def wire(*paths: Path, **more) -> WireIntent:
    base = WireIntent(ME, "web-1", WireState.PATH, paths, paths[-1].id if paths else None)
    return replace(base, **more)


def compiled(*wires: WireIntent, ports: LocalPorts = PORTS, **more):
    return compile_table(ServerIntent("s1", 1, wires, peers=PEERS, **more), ports)


def test_a_local_path_enters_by_the_inport_outwards_and_by_the_outport_inwards():
    table = compiled(wire(LOCAL))
    (path,) = table.paths
    assert path.egress == Enter("ips-s1-1", Side.INPORT, 20, 101, OUT)
    assert path.ingress == Enter("ips-s1-1", Side.OUTPORT, 21, 101, IN)
    assert set(table.lanes) == {
        LaneRow(21, 101, 7, Deliver(ME, 10, OUT)),
        LaneRow(20, 101, 7, Deliver(ME, 10, IN)),
    }
    assert (table.wires[0].state, table.wires[0].active, table.wires[0].attached) == (WireState.PATH, 7, (7,))
    assert table.problems == ()


def test_a_remote_path_goes_to_its_peer_and_what_comes_back_is_delivered():
    table = compiled(wire(REMOTE))
    (path,) = table.paths
    assert path.egress == Tunnel(40, "10.8.0.2", 24, OUT)
    assert path.ingress == Tunnel(40, "10.8.0.2", 25, IN)
    assert set(table.keys) == {
        KeyRow(24, "10.8.0.2", 8, Deliver(ME, 10, OUT)),
        KeyRow(25, "10.8.0.2", 8, Deliver(ME, 10, IN)),
    }


def test_the_appliances_side_sends_what_comes_out_back_to_the_wires_server():
    table = compiled(services=(ServiceIntent(8, "ips-s1-1", 55, 12, "s2", "10.8.0.2"),))
    assert set(table.keys) == {
        KeyRow(24, "10.8.0.2", 8, Enter("ips-s1-1", Side.INPORT, 20, 55, OUT)),
        KeyRow(25, "10.8.0.2", 8, Enter("ips-s1-1", Side.OUTPORT, 21, 55, IN)),
    }
    assert set(table.lanes) == {
        LaneRow(21, 55, 8, Tunnel(40, "10.8.0.2", 24, OUT)),
        LaneRow(20, 55, 8, Tunnel(40, "10.8.0.2", 25, IN)),
    }
    assert [(row.path, row.appliance) for row in table.services] == [(8, "ips-s1-1")]


def test_a_chain_of_local_and_remote_hops_returns_to_the_wires_server_between_them():
    chain = Path(9, (Hop("fw-s1-1", "s1", 3), Hop("ips-s2-1", "s2", 55, 12)))
    table = compiled(wire(chain))
    (path,) = table.paths
    assert path.egress == Enter("fw-s1-1", Side.INPORT, 30, 3, OUT)
    assert path.ingress == Tunnel(40, "10.8.0.2", 25, IN)
    assert set(table.lanes) == {
        LaneRow(31, 3, 9, Tunnel(40, "10.8.0.2", 24, OUT)),
        LaneRow(30, 3, 9, Deliver(ME, 10, IN)),
    }
    assert set(table.keys) == {
        KeyRow(24, "10.8.0.2", 9, Deliver(ME, 10, OUT)),
        KeyRow(25, "10.8.0.2", 9, Enter("fw-s1-1", Side.OUTPORT, 31, 3, IN)),
    }


def test_a_path_whose_appliance_is_not_there_yet_is_left_out_whole_and_its_wire_held():
    chain = Path(9, (Hop("ips-s1-1", "s1", 3), Hop("late-s1-2", "s1", 4)))
    table = compiled(wire(chain))
    assert (table.paths, table.lanes, table.keys) == ((), (), ())
    assert table.wires[0].state is WireState.HOLD
    assert table.problems == (
        "path 9 is left out: appliance late-s1-2 has no ports on s1 yet",
        "wire of web-1 (02:00:00:00:01:01) is held: path 9 is not in place",
    )


def test_what_makes_a_path_impossible_is_named():
    nowhere = Path(8, (Hop("ips-s9-1", "s9", 55, 12),))
    assert "the tunnel address of server s9 is not known" in compiled(wire(nowhere)).problems[0]
    without_tunnel = replace(PORTS, tunnel=None)
    assert "this server has no tunnel device" in compiled(wire(REMOTE), ports=without_tunnel).problems[0]
    assert "it has no hop" in compiled(wire(Path(8, ()))).problems[0]
    assert "lane 4094 is not one of" in compiled(wire(Path(8, (Hop("ips-s1-1", "s1", 4094),)))).problems[0]
    assert "tunnel key 40000 is not one of" in compiled(wire(Path(8, (Hop("x", "s2", 1, 40_000),)))).problems[0]


def test_both_paths_of_a_handover_are_in_place_and_one_is_active():
    table = compiled(wire(REMOTE, LOCAL))
    assert table.wires[0].attached == (8, 7)
    assert table.wires[0].active == 7
    assert len(table.lanes) == len(table.keys) == 2


def test_a_lane_that_two_paths_claim_is_given_to_the_first_only():
    other = VnicId("00000000-0000-0000-0000-000000000002", "02:00:00:00:01:02")
    second = replace(wire(replace(LOCAL, id=9)), vnic=other, guest_name="web-2")
    table = compiled(wire(LOCAL), second, ports=replace(PORTS, vnics={ME: 10, other: 11}))
    assert [row.path for row in table.lanes] == [7, 7]
    assert [row.state for row in table.wires] == [WireState.PATH, WireState.HOLD]
    assert table.problems[0] == "path 9 is left out: lane 101 of the same appliance belongs to path 7"


def test_a_port_without_a_wire_is_held_and_a_wire_without_a_port_has_no_row():
    assert compiled().wires[0].state is WireState.HOLD
    assert compiled(wire(LOCAL), ports=replace(PORTS, vnics={})).wires == ()


def test_a_released_vnic_is_open_whatever_the_intent_says():
    for wires in ((), (wire(LOCAL),)):
        (row,) = compile_table(ServerIntent("s1", 1, wires), PORTS, frozenset({ME})).wires
        assert (row.state, row.open_reason, row.active) == (WireState.OPEN, OpenReason.RELEASED, None)


def test_an_open_wire_says_why():
    (row,) = compiled(wire(state=WireState.OPEN, open_reason=OpenReason.FAIL_OPEN, active=None)).wires
    assert (row.state, row.open_reason) == (WireState.OPEN, OpenReason.FAIL_OPEN)


def test_the_identifier_on_the_air_is_key_times_two_and_direction():
    assert (tunnel_id(12, OUT), tunnel_id(12, IN)) == (24, 25)
