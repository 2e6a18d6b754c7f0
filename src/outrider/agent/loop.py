"""One look at everything on this server and its correction, repeated whenever something says "look again".

Nothing here depends on an event having been seen: each round starts from whole snapshots, and what it applies is the
whole steering table. So an agent that was killed in the middle of anything simply does the next round.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from outrider.agent.arming import PortArming
from outrider.agent.files import AgentFiles
from outrider.agent.ports import Appliances, Hypervisor, Links, PortRefused, Steering
from outrider.agent.resolve import VnicPort, resolve_ports, with_existing_ports
from outrider.agent.timeline import Timeline, WireTimes
from outrider.domain.guest import GuestState, VnicId
from outrider.domain.intent import ServerIntent
from outrider.domain.observation import (
    Condition,
    GuestObservation,
    PortObservation,
    ServerObservation,
    ServiceObservation,
    WireObservation,
)
from outrider.domain.wire import OpenReason
from outrider.pipeline.compile import LocalPorts, compile_table
from outrider.pipeline.table import SteeringTable, WireRow
from outrider.session.agent import AgentSession

LOOK_EVERY_S = 2.0
ARM_DEADLINE_S = 4.0
SETTLE_DEADLINE_S = 1.0  # how long a start may wait for its path: decided and in place is a matter of 50 ms
TUNNEL_DEVICE = "or-tunnel"
TUNNEL_UDP_PORT = 4790
LANE_OVERHEAD = 4

log = structlog.get_logger("agent")


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What is particular to this server. ``tunnel_interface`` carries the tunnel; its MTU bounds remote hops."""

    server: str
    tunnel_interface: str
    tunnel_address: str
    arm_patterns: tuple[str, ...] = ("vnet*",)
    appliance_slots: int = 8
    guest_mtu: int = 1500


@dataclass(slots=True)
class _Applied:
    """What the last round left in the kernel."""

    intent: ServerIntent
    ports: list[VnicPort] = field(default_factory=list)
    table: SteeringTable = field(default_factory=SteeringTable)


class ArmingRefused(Exception):
    """A guest's ports cannot be armed now; the message is for the operator who started it."""


class GuestUnknown(Exception):
    """No guest of that name or UUID is on this server."""


class AgentLoop:
    """Observes, applies and reports for one server."""

    def __init__(
        self,
        config: AgentConfig,
        files: AgentFiles,
        session: AgentSession,
        links: Links,
        hypervisor: Hypervisor,
        appliances: Appliances,
        steering: Steering,
        port_refused: type[Exception] = PortRefused,
    ) -> None:
        self.config = config
        self.session = session
        self._files = files
        self._links, self._hypervisor, self._appliances, self._steering = links, hypervisor, appliances, steering
        self._arming = PortArming(steering, port_refused, config.arm_patterns)
        self._timeline = Timeline()
        self._applied = _Applied(session.intent)
        self._look = asyncio.Event()
        self._guarded_tunnel: tuple[int, int] | None = None
        self._trouble: str | None = None
        self._verified_at = time.monotonic()
        self._released = files.released()
        self._remembered = files.last_guests()
        self.observation: ServerObservation | None = None
        self.begun = asyncio.Event()  # set when every adapter has looked: a round before that would undo what runs
        self.reported = asyncio.Event()  # set when ``observation`` has been made anew

    def look_again(self) -> None:
        """Something may have changed; may be called at any time, any number of times."""
        self._look.set()

    async def run(self) -> None:
        """Watch and correct until cancelled. The first round begins once every adapter has looked."""
        await self._links.start(self.look_again, self._port_appeared)
        try:
            await self._appliances.start(self.look_again)
            await self._hypervisor.start(self.look_again)
            self.begun.set()
            while True:
                self._round_or_trouble()
                await self._wait_for_a_look(LOOK_EVERY_S)
        finally:
            await self._hypervisor.stop()
            await self._appliances.stop()
            await self._links.stop()

    def _round_or_trouble(self) -> None:
        """A round that cannot be finished is told and made again: what it left undone, the next one does."""
        try:
            self.round()
        except Exception as error:
            # Of any kind: an interface may vanish under each step, and an agent that ends for it helps nobody.
            log.exception("this round was not finished", reason=str(error))
            self._trouble = f"{type(error).__name__}: {error}"
        else:
            self._trouble = None

    def round(self) -> None:
        """One whole look and its correction. Raises what the kernel says of an interface that vanishes meanwhile."""
        ports = {port.name: port for port in self._links.snapshot()}
        guests = self._guests()
        found = resolve_ports(guests, ports)
        for entry in found:
            self._arming.arm(entry.port)
        found = [entry for entry in found if entry.port.name not in self._arming.refusals]
        if self.session.accepted is not None:  # nobody has said that what runs here is not wanted
            self._appliances.apply(self.session.intent.appliances)
        self._apply(found, ports)
        self._verify_now_and_then()
        self._forget(ports, found)
        self.observation = self._observe(guests, ports)
        self.reported.set()

    def _guests(self) -> Sequence[GuestObservation]:
        """The guests as the hypervisor lists them; until it has, those remembered from before the agent's restart.

        Without the memory, an agent that starts while libvirt is away would take every wire for gone.
        """
        seen = self._hypervisor.snapshot()
        if not self._hypervisor.has_looked:
            known = {guest.uuid for guest in seen}
            return [*seen, *(guest for guest in self._remembered if guest.uuid not in known)]
        if tuple(seen) != self._remembered:
            self._remembered = tuple(seen)
            self._files.save_guests(seen)
        return seen

    # -- arming

    def _port_appeared(self, port: PortObservation) -> None:
        if self._arming.appeared(port):
            self.look_again()

    def announce(self, description: str) -> GuestObservation:
        """Take in a guest from the start hook; see ``arm_guest``. Raises ``ArmingRefused``."""
        try:
            return self._hypervisor.announce(description)
        except ValueError as error:
            raise ArmingRefused(str(error)) from error

    async def arm_guest(self, guest: GuestObservation) -> None:
        """Return once every port of ``guest`` is armed and it is known what its wires do; raises ``ArmingRefused``.

        A port that cannot be steered refuses the start: its guest would run unprotected where a policy may ask
        for protection. A path that is being put in place is waited for a moment, so that the guest's first packets
        find it; a controller that does not answer is not waited for longer.
        """
        for vnic in guest.vnics:
            if vnic.refused:
                raise ArmingRefused(f"guest {guest.name}: vnic {vnic.mac} cannot be protected: {vnic.refused}")
        await self._until(lambda: self._unarmed(guest) is None, ARM_DEADLINE_S)
        if missing := self._unarmed(guest):
            raise ArmingRefused(f"guest {guest.name} on {self.config.server}: {missing}")
        if not await self._until(lambda: not self._is_pending(guest), SETTLE_DEADLINE_S):
            log.warning("a guest begins while its wires hold: no path was in place in time", guest=guest.name)

    async def _until(self, is_so: Callable[[], bool], within_s: float) -> bool:
        """Look, round after round, until ``is_so``; False when that took too long."""
        deadline = time.monotonic() + within_s
        while True:
            self.round()
            if is_so():
                return True
            if time.monotonic() >= deadline:
                return False
            await self._wait_for_a_look(min(0.05, max(0.0, deadline - time.monotonic())))

    async def _wait_for_a_look(self, at_most_s: float) -> bool:
        """Wait until something says "look again"; False when nothing did."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._look.wait()
        except TimeoutError:
            return False
        finally:
            self._look.clear()
        return True

    def _is_pending(self, guest: GuestObservation) -> bool:
        """True while a wire of ``guest`` is not decided on, or holds only until its path is in place."""
        wires = {wire.vnic: wire for wire in self.session.intent.wires}
        found = [wires.get(VnicId(guest.uuid, vnic.mac)) for vnic in guest.vnics]
        return any(wire is None or wire.pending for wire in found)

    def _unarmed(self, guest: GuestObservation) -> str | None:
        """What ``guest`` still lacks, None when it may run. Raises ``ArmingRefused`` for what waiting cannot mend."""
        armed = {entry.vnic for entry in self._applied.ports}
        for vnic in guest.vnics:
            if vnic.port in self._arming.refusals:
                raise ArmingRefused(f"guest {guest.name}: port {vnic.port}: {self._arming.refusals[vnic.port]}")
            if VnicId(guest.uuid, vnic.mac) not in armed:
                return f"port {vnic.port} of vnic {vnic.mac} does not exist"
        return None

    # -- applying

    def _apply(self, found: list[VnicPort], ports: Mapping[str, PortObservation]) -> None:
        intent = self.session.intent
        tunnel = self._ensure_tunnel(ports)
        pairs = {
            wanted.name: pair
            for wanted in intent.appliances
            if (pair := self._appliances.ports(wanted.name)) is not None
        }
        local = LocalPorts({entry.vnic: entry.port.ifindex for entry in found}, pairs, tunnel)
        table: SteeringTable = compile_table(intent, local, self._released)
        self._steering.apply(table)
        now = time.time()
        for entry in found:
            self._note_armed(entry, now)
        for problem in table.problems:
            if problem not in self._applied.table.problems:
                log.info("not applied yet", problem=problem)
        self._applied = _Applied(intent, found, table)

    def _ensure_tunnel(self, ports: Mapping[str, PortObservation]) -> int | None:
        """The tunnel device's ifindex, the device made and guarded where it is not; None without an underlay."""
        underlay = ports.get(self.config.tunnel_interface)
        if underlay is None:
            return None
        mtu = self.config.guest_mtu + LANE_OVERHEAD
        device = ports.get(TUNNEL_DEVICE)
        if device is not None and device.up and device.mtu == mtu:
            ifindex = device.ifindex
        else:
            ifindex = self._links.ensure_tunnel(TUNNEL_DEVICE, TUNNEL_UDP_PORT, mtu)
        if self._guarded_tunnel != (ifindex, underlay.ifindex):
            self._steering.guard_tunnel(ifindex, underlay.ifindex)
            self._guarded_tunnel = ifindex, underlay.ifindex
        return ifindex

    def _note_armed(self, entry: VnicPort, now: float) -> None:
        times = self._timeline.of(entry.vnic, entry.port.ifindex, now)
        if times.armed_at is None:
            times.armed_at = now
            first = self._steering.wire_counters(entry.vnic).frames("first_egress")
            times.frames_before_arming = max(0, self._arming.received_here(entry.port) - first)
        if times.running_at is None and entry.guest.state is GuestState.RUNNING:
            times.running_at = now

    def _forget(self, ports: Mapping[str, PortObservation], found: list[VnicPort]) -> None:
        self._timeline.forget_all_but({entry.vnic for entry in found})
        self._arming.forget_all_but(ports)

    def _verify_now_and_then(self) -> None:
        """However many rounds there are, attachments are read again every ``LOOK_EVERY_S``."""
        if time.monotonic() < self._verified_at + LOOK_EVERY_S:
            return
        self._verified_at = time.monotonic()
        for repair in self._steering.verify():
            log.warning("repaired", what=repair)

    # -- reporting

    def _observe(self, guests: Sequence[GuestObservation], ports: Mapping[str, PortObservation]) -> ServerObservation:
        underlay = ports.get(self.config.tunnel_interface)
        intent = self._applied.intent
        rows = {row.vnic: row for row in self._applied.table.wires}
        return ServerObservation(
            self.config.server,
            self.config.tunnel_address,
            underlay.mtu if underlay else 0,
            self.config.appliance_slots,
            intent.generation,
            guests=with_existing_ports(guests, ports, self._arming.refusals),
            wires=tuple(self._observe_wire(entry, rows[entry.vnic]) for entry in self._applied.ports),
            services=tuple(ServiceObservation(row.path, row.appliance) for row in self._applied.table.services),
            appliances=tuple(self._appliances.snapshot()),
            conditions=(*self._steering.conditions(), *self._problem_conditions()),
            drops=self._steering.drops(),
        )

    def _observe_wire(self, entry: VnicPort, row: WireRow) -> WireObservation:
        now = time.time()
        times: WireTimes = self._timeline.of(entry.vnic, entry.port.ifindex, now)
        self._timeline.activated(times, row.active, now)
        is_released = row.open_reason is OpenReason.RELEASED
        return WireObservation(
            entry.vnic,
            entry.port.name,
            "released" if is_released else row.state.value,
            row.attached,
            row.active,
            times.seen_at,
            times.armed_at,
            times.running_at,
            times.active_since,
            self._steering.announced(entry.vnic),
            is_released,
            times.frames_before_arming,
            self._steering.wire_counters(entry.vnic),
        )

    def _problem_conditions(self) -> list[Condition]:
        trouble = [Condition("Applied", False, self._trouble)] if self._trouble else []
        return trouble + [Condition("Applied", False, problem) for problem in self._applied.table.problems]

    # -- emergency release

    def release(self, guest: str, undo: bool, who: str) -> list[str]:
        """Let every vnic of ``guest`` (name or UUID) pass uninspected, or end that. Returns the vnics concerned.

        Works without a controller, outlasts restarts, and is written to the audit log before it takes effect.
        Raises ``GuestUnknown`` when no such guest is here (or, to undo, none is released).
        """
        named = {seen.uuid for seen in self._guests() if guest in (seen.name, seen.uuid)} or {guest}
        known = {entry.vnic for entry in self._applied.ports} | self._released
        vnics = frozenset(vnic for vnic in known if vnic.guest in named)
        if not vnics:
            raise GuestUnknown(guest)
        entry: dict[str, object] = {
            "time": time.time(),
            "who": who,
            "action": "release-undone" if undo else "release",
            "guest": guest,
            "vnics": sorted(map(str, vnics)),
        }
        self._files.audit(entry)
        self._released = self._released - vnics if undo else self._released | vnics
        self._files.save_released(self._released)
        log.warning("emergency release" if not undo else "emergency release undone", guest=guest, who=who)
        self.round()
        return sorted(map(str, vnics))

    def ports_of_all(self) -> list[VnicPort]:
        """Every armed vnic port of this server."""
        return list(self._applied.ports)

    def ports_of(self, guest: str) -> list[VnicPort]:
        """The armed ports of ``guest`` (name or UUID) on this server."""
        return [entry for entry in self._applied.ports if guest in (entry.guest.name, entry.guest.uuid)]
