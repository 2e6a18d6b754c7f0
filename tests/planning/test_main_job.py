"""The method itself, step by step, in the planner's words."""

from dataclasses import replace

from world import IPS, WEB_TIER, World, vnic_of

from outrider.domain.appliance import ApplianceClass
from outrider.domain.guest import GuestState
from outrider.domain.policy import FailurePolicy, OnMissing, Placement
from outrider.domain.wire import OpenReason, WireState


def test_a_guest_without_a_policy_passes_and_is_counted_as_such():
    world = World(labels={})
    world.guests["web-1", "s1"] = GuestState.RUNNING
    world.settle()
    entry = world.entry("web-1", "s1")
    assert (entry.state, entry.open_reason) == (WireState.OPEN, OpenReason.NO_POLICY)
    assert not world.ledger.appliances


def test_the_first_guest_holds_until_an_appliance_has_proved_itself():
    world = World()
    world.guests["web-1", "s1"] = GuestState.RUNNING
    world.settle()
    assert world.entry("web-1", "s1").state is WireState.HOLD
    assert [a.server for a in world.ledger.appliances.values()] == ["s1"]
    world.make_ready()
    world.settle()
    assert world.entry("web-1", "s1").state is WireState.PATH
    assert world.entry("web-1", "s1").active_path.is_local


def test_a_moved_guest_runs_through_the_other_servers_appliance_until_its_own_is_ready():
    world = World()
    world.covered_guest("web-1", "s1")
    (first,) = world.ledger.appliances
    world.guests["web-1", "s2"] = GuestState.ARRIVING
    world.settle()
    interim = world.entry("web-1", "s2")
    assert interim.state is WireState.PATH and not interim.active_path.is_local
    assert interim.active_path.hops[0].appliance == first
    assert interim.await_announcement
    assert len(world.ledger.appliances) == 2, "one new appliance was requested, once"
    del world.guests["web-1", "s1"]
    world.guests["web-1", "s2"] = GuestState.RUNNING
    world.announced.add(("web-1", "s2"))
    world.settle()
    assert not world.entry("web-1", "s2").await_announcement
    world.make_ready()
    world.settle()
    final = world.entry("web-1", "s2")
    assert final.active_path.is_local and len(final.paths) == 1 and final.settled
    assert not world.applied["s1"].services, "nothing is left behind on the other server"
    (move,) = world.ledger.moves
    assert (move.source, move.target, move.cancelled) == ("s1", "s2", False)
    assert move.switched is not None and move.appliance_requested is not None
    assert (move.interim_appliance, move.final_appliance) == (first, final.wanted[0])


def test_a_second_guest_uses_the_appliance_that_is_there_and_none_is_created():
    world = World()
    world.covered_guest("web-1", "s1")
    world.covered_guest("web-2", "s2")
    world.guests["web-1", "s2"] = GuestState.ARRIVING
    plan = world.settle()
    assert len(plan.ledger.appliances) == 2
    assert world.entry("web-1", "s2").active_path.is_local


def test_the_old_path_stays_until_the_switch_is_acknowledged_and_packets_have_landed():
    world = World()
    world.covered_guest("web-1", "s1")
    del world.guests["web-1", "s1"]
    world.guests["web-1", "s2"] = GuestState.RUNNING
    world.settle()
    world.make_ready()
    world.deaf = {"s2"}
    world.settle()
    assert len(world.entry("web-1", "s2").paths) == 2, "s2 has not said that it switched"
    assert world.applied["s1"].services, "so its interim hop stays"
    world.deaf = set()
    world.step()
    world.step()
    assert len(world.entry("web-1", "s2").paths) == 2, "packets in flight have not had their time"
    world.now += 1.0
    world.step()
    assert len(world.entry("web-1", "s2").paths) == 1


def test_a_remote_path_is_not_used_before_the_other_server_provides_it():
    world = World()
    world.covered_guest("web-1", "s1")
    world.deaf = {"s1"}
    world.guests["web-1", "s2"] = GuestState.ARRIVING
    world.settle()
    assert world.entry("web-1", "s2").active is None
    world.deaf = set()
    world.settle()
    assert world.entry("web-1", "s2").active is not None


def test_a_failed_appliance_loses_its_paths_before_anything_else_happens():
    world = World()
    world.covered_guest("web-1", "s1")
    world.failed = set(world.ledger.appliances)
    world.step()
    entry = world.entry("web-1", "s1")
    assert (entry.state, entry.paths) == (WireState.HOLD, ())


def test_fail_open_passes_and_is_counted_where_fail_close_holds():
    world = World(policies=(replace(WEB_TIER, failure_policy=FailurePolicy.FAIL_OPEN),))
    world.covered_guest("web-1", "s1")
    world.failed = set(world.ledger.appliances)
    world.settle()
    entry = world.entry("web-1", "s1")
    assert (entry.state, entry.open_reason) == (WireState.OPEN, OpenReason.FAIL_OPEN)


def test_fail_close_is_not_undone_by_on_missing_allow():
    world = World(policies=(replace(WEB_TIER, on_missing=OnMissing.ALLOW),))
    world.guests["web-1", "s1"] = GuestState.RUNNING
    world.settle()
    assert world.entry("web-1", "s1").open_reason is OpenReason.ALLOW
    world.make_ready()
    world.settle()
    world.failed = set(world.ledger.appliances)
    world.settle()
    assert world.entry("web-1", "s1").state is WireState.HOLD


def test_on_missing_hold_takes_no_interim_hop():
    world = World(policies=(replace(WEB_TIER, on_missing=OnMissing.HOLD),))
    world.covered_guest("web-1", "s1")
    world.guests["web-1", "s2"] = GuestState.ARRIVING
    world.settle()
    assert world.entry("web-1", "s2").state is WireState.HOLD


def test_remote_ok_is_content_with_the_other_servers_appliance():
    world = World(policies=(replace(WEB_TIER, placement=Placement.REMOTE_OK),))
    world.covered_guest("web-1", "s1")
    world.covered_guest("web-2", "s2")
    assert len(world.ledger.appliances) == 1
    assert world.entry("web-2", "s2").settled


def test_a_full_server_says_so_and_the_guest_stays_on_its_interim_hop():
    world = World(slots=1)
    world.covered_guest("web-1", "s1")
    world.classes = {**world.classes, "fw": ApplianceClass("fw", ("firewall",), "bridge-null")}
    world.policies = (WEB_TIER, replace(WEB_TIER, name="fw", controls=("ips", "firewall"), priority=-1))
    world.slots = 0
    world.guests["web-2", "s2"] = GuestState.RUNNING
    world.settle()
    entry = world.entry("web-2", "s2")
    assert "s2 is full" in entry.reason
    assert entry.state is WireState.PATH and not entry.active_path.is_local


def test_an_underlay_too_small_for_the_tunnel_is_a_reason_not_a_mystery():
    world = World(tunnel_mtu=1500)
    world.covered_guest("web-1", "s1")
    world.guests["web-2", "s2"] = GuestState.RUNNING
    world.settle()
    assert "carries 1500 bytes and a remote hop needs 1550" in world.entry("web-2", "s2").reason
    assert world.entry("web-2", "s2").state is WireState.HOLD


def test_a_cancelled_migration_leaves_the_source_as_it_was():
    world = World()
    world.covered_guest("web-1", "s1")
    before = world.entry("web-1", "s1")
    world.guests["web-1", "s2"] = GuestState.ARRIVING
    world.settle()
    del world.guests["web-1", "s2"]
    world.settle()
    after = world.entry("web-1", "s1")
    assert (after.paths, after.active, after.state) == (before.paths, before.active, before.state)
    (move,) = world.ledger.moves
    assert move.cancelled
    assert not world.applied["s1"].services


def test_a_container_that_is_nowhere_for_a_moment_still_makes_a_move():
    world = World()
    world.covered_guest("web-1", "s1")
    (first,) = world.ledger.appliances
    del world.guests["web-1", "s1"]
    world.settle()
    world.guests["web-1", "s3"] = GuestState.RUNNING
    world.settle()
    assert [(move.source, move.target) for move in world.ledger.moves] == [("s1", "s3")]
    assert world.entry("web-1", "s3").active_path.hops[0].appliance == first


def test_a_lane_is_not_given_again_while_the_engine_may_remember_it():
    world = World()
    world.covered_guest("web-1", "s1")
    (lane,) = (hop.lane for hop in world.entry("web-1", "s1").active_path.hops)
    del world.guests["web-1", "s1"]
    world.settle()
    world.guests["web-2", "s1"] = GuestState.RUNNING
    world.settle()
    assert world.entry("web-2", "s1").active_path.hops[0].lane != lane


def test_an_idle_appliance_is_retired_after_its_time_and_not_before():
    world = World()
    world.covered_guest("web-1", "s1")
    del world.guests["web-1", "s1"]
    world.settle()
    world.now += 500
    world.settle()
    assert world.ledger.appliances
    world.now += 200
    world.settle()
    assert not world.ledger.appliances and not world.applied["s1"].appliances


def test_a_server_that_has_not_reported_since_the_controller_began_keeps_what_it_has():
    world = World()
    world.covered_guest("web-1", "s1")
    wires, appliances = world.ledger.wires, world.ledger.appliances
    world.servers = ("s2", "s3")
    world.settle()
    assert world.ledger.wires == wires and set(world.ledger.appliances) == set(appliances)


def test_of_several_policies_the_highest_priority_wins_then_the_first_name():
    low = replace(WEB_TIER, name="a-low", priority=1)
    tie_b, tie_a = replace(WEB_TIER, name="b", priority=5), replace(WEB_TIER, name="a", priority=5)
    world = World(policies=(low, tie_b, tie_a))
    world.guests["web-1", "s1"] = GuestState.RUNNING
    world.settle()
    assert world.entry("web-1", "s1").policy == "a"


def test_an_unknown_control_is_a_reason_and_holds():
    world = World(policies=(replace(WEB_TIER, controls=("telepathy",)),))
    world.guests["web-1", "s1"] = GuestState.RUNNING
    world.settle()
    assert "no appliance class provides telepathy" in world.entry("web-1", "s1").reason
    assert world.entry("web-1", "s1").state is WireState.HOLD


def test_chains_are_paths_of_several_hops_in_the_policys_order():
    fw = ApplianceClass("fw", ("firewall",), "bridge-null")
    world = World(classes={IPS.name: IPS, "fw": fw}, policies=(replace(WEB_TIER, controls=("firewall", "ips")),))
    world.covered_guest("web-1", "s1")
    hops = world.entry("web-1", "s1").active_path.hops
    assert [hop.appliance.rsplit("-", 2)[0] for hop in hops] == ["fw", "suricata-ips"]


def test_vnic_ids_read_back_as_written():
    assert vnic_of("x").parse(str(vnic_of("x"))) == vnic_of("x")
