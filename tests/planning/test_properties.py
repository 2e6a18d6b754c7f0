"""Whatever happens, in whatever order: what a plan may never do, and where it must end up."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from world import World, vnic_of

from outrider.domain.guest import GuestState
from outrider.domain.wire import WireState
from outrider.planning.plan import plan

SERVERS = ("s1", "s2", "s3")
GUESTS = ("web-1", "web-2", "web-3")
servers, guests = st.sampled_from(SERVERS), st.sampled_from(GUESTS)


class Planning(RuleBasedStateMachine):
    """Guests come, move, half-move and go; appliances prove themselves, fail and recover; servers go deaf."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(guest=guests, server=servers, state=st.sampled_from([GuestState.ARRIVING, GuestState.RUNNING]))
    def appears(self, guest: str, server: str, state: GuestState) -> None:
        self.world.guests[guest, server] = state

    @rule(guest=guests, server=servers)
    def vanishes(self, guest: str, server: str) -> None:
        self.world.guests.pop((guest, server), None)

    @rule(guest=guests, server=servers)
    def announces(self, guest: str, server: str) -> None:
        self.world.announced.add((guest, server))

    @rule()
    def appliances_prove_themselves(self) -> None:
        self.world.make_ready()
        self.world.failed.clear()

    @precondition(lambda self: self.world.ledger.appliances)
    @rule(data=st.data())
    def an_appliance_fails(self, data: st.DataObject) -> None:
        self.world.failed.add(data.draw(st.sampled_from(sorted(self.world.ledger.appliances))))

    @rule(server=servers)
    def goes_deaf(self, server: str) -> None:
        self.world.deaf ^= {server}

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 700.0]))
    def time_passes_and_a_plan_is_made(self, seconds: float) -> None:
        self.world.now += seconds
        self.world.step()

    @invariant()
    def lanes_and_keys_have_one_user_each(self) -> None:
        hops = [hop for entry in self.world.ledger.wires.values() for path in entry.paths for hop in path.hops]
        assert max(Counter((hop.appliance, hop.lane) for hop in hops).values(), default=1) == 1
        assert max(Counter(hop.key for hop in hops if hop.key).values(), default=1) == 1

    @invariant()
    def a_wire_on_a_path_has_that_path_attached_and_every_other_passes_nothing(self) -> None:
        for entry in self.world.ledger.wires.values():
            assert (entry.state is WireState.PATH) == (entry.active_path is not None)
            assert entry.state is not WireState.OPEN, "the policy covers every guest and fails closed"

    @invariant()
    def planning_again_from_the_same_state_changes_nothing(self) -> None:
        if self.world.last is None:
            return
        once = plan(self.world.cluster(), self.world.now)
        self.world.ledger, kept = once.ledger, self.world.ledger
        twice = plan(self.world.cluster(), self.world.now)
        self.world.ledger = kept
        assert twice.intents == once.intents
        assert twice.ledger.wires == once.ledger.wires

    @invariant()
    def no_failed_appliance_is_on_a_path_that_was_just_planned(self) -> None:
        planned = plan(self.world.cluster(), self.world.now)
        for entry in planned.ledger.wires.values():
            for path in entry.paths:
                assert not {hop.appliance for hop in path.hops} & self.world.failed

    def teardown(self) -> None:
        world = self.world
        world.deaf, world.failed = set(), set()
        for _ in range(3):
            world.settle()
            world.make_ready()
        world.settle()
        for guest, server in world.guests:
            entry = world.entry(guest, server)
            assert entry.active_path is not None and entry.active_path.is_local, "everything ends up local"
            assert len(entry.paths) == 1
        assert {e.wire.vnic for e in world.ledger.wires.values()} == {vnic_of(name) for name, _ in world.guests}
        assert not any(intent.services for intent in world.applied.values())


Planning.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestPlanning = Planning.TestCase
