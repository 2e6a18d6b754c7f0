"""The eBPF backend as one thing: what the agent asks of its data path (its ``Steering`` protocol).

Everything it knows is in the kernel: the words, the records, whose slots are whose. An agent that starts finds its
server's programs on the ports, takes over their tables, and exchanges the programs for its own in place; packets never
notice. One that stops leaves everything as it is.
"""

import platform
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

from outrider.domain.guest import VnicId
from outrider.domain.observation import Condition, Count, WireCounters
from outrider.domain.wire import Direction
from outrider.pipeline.revoke import find_revoked
from outrider.pipeline.table import SteeringTable
from outrider.steering import counting, guards, layout, tables
from outrider.steering.application import Application
from outrider.steering.attachment import Hooks, PortRefused
from outrider.steering.build import build_programs
from outrider.steering.clsact import ClsactHooks
from outrider.steering.guards import Guards
from outrider.steering.marks import DEFAULT_MARK_MASK, MarkFields
from outrider.steering.places import AppliancePlaces, WirePlaces
from outrider.steering.records import tunnel_word
from outrider.steering.slots import TableFull
from outrider.steering.tables import Sizes
from outrider.steering.tcx import TcxHooks, has_tcx
from outrider.steering.trace import Question, trace

__all__ = ["EbpfSteering", "PortRefused"]

DEFAULT_TUNNEL_PORT = 4790  # IANA gives it to vxlan-gpe; VXLAN itself has 4789


class EbpfSteering:
    """The programs of one server and their tables.

    ``server`` names whose programs these are; ``cache_dir`` keeps the compiled object; ``mark_mask`` says which bits of
    ``skb->mark`` are ours; ``tunnel_port`` is the tunnel's UDP port; ``force_clsact`` uses clsact although the kernel
    has tcx. Works in the network namespace it is made in, and must be used there. Raises ``BuildFailed``,
    ``LoadFailed``, and ``ValueError`` for a bad mask.
    """

    def __init__(
        self,
        server: str,
        *,
        cache_dir: Path,
        mark_mask: int = DEFAULT_MARK_MASK,
        tunnel_port: int = DEFAULT_TUNNEL_PORT,
        sizes: Sizes | None = None,
        force_clsact: bool = False,
    ) -> None:
        self._lock = threading.RLock()  # appliances are guarded from the threads that start them
        self._marks, self._sizes = MarkFields.of(mark_mask), sizes or Sizes()
        self._tunnel_port = tunnel_port
        self._object = build_programs(cache_dir)
        self._hooks: Hooks = ClsactHooks() if force_clsact or not has_tcx() else TcxHooks()
        self._tables = tables.load_tables(self._object, server, self._marks, tunnel_port, self._sizes, self._hooks)
        self._wires = WirePlaces(self._tables, self._marks)
        self._appliances = AppliancePlaces(self._tables)
        self._application = Application(self._tables, self._marks, self._wires, self._appliances)
        self._guards = Guards(self._hooks, self._tables)
        self._vnics: dict[VnicId, int] = {}
        self._table = SteeringTable()
        self._forget_all_but({ifindex for ifindex, _ in socket.if_nameindex()})

    # -- ports

    def arm(self, ifindex: int) -> None:
        """Attach the vnic programs; until ``apply`` names the port it passes nothing. Doing it twice is harmless.

        Raises ``PortRefused`` when the port cannot be steered.
        """
        self._check_range(ifindex)
        with self._lock:
            if not self._is_ours_already(ifindex):
                try:
                    self._wires.begin(ifindex)
                except TableFull as error:
                    raise PortRefused(str(error)) from error
            self._guards.guard(ifindex, guards.VNIC)

    def _is_ours_already(self, ifindex: int) -> bool:
        """True when the port has a wire slot and our tables' programs: the same port as before, not its number."""
        self._hooks.check(ifindex)
        return self._wires.has(ifindex) and self._guards.carries(ifindex, guards.VNIC, self._tables.own_maps)

    def _check_range(self, ifindex: int) -> None:
        if not 0 < ifindex < self._tables.ports.entries:
            raise PortRefused(
                f"interface number {ifindex} is beyond the {self._tables.ports.entries} this agent can steer: "
                "start it with a larger table of ports"
            )

    def guard_appliance_ports(self, inport: int, outport: int) -> None:
        """Attach the appliance programs: from now on nothing but our frames enters it, and nothing leaves unmarked.

        Raises ``PortRefused``.
        """
        for ifindex in (inport, outport):
            self._check_range(ifindex)
            with self._lock:
                try:
                    self._appliances.place(ifindex)
                except TableFull as error:
                    raise PortRefused(str(error)) from error
                self._guards.guard(ifindex, guards.APPLIANCE)

    def guard_tunnel(self, ifindex: int, underlay: int | None = None) -> None:
        """Attach the tunnel programs: only our frames leave by it, and what arrives goes where its key says or nowhere.

        With ``underlay``, the interface that carries the tunnel, nothing is taken that came by another one: without it
        a guest could send in a peer's name by way of the fabric. Raises ``PortRefused``.
        """
        for number in (ifindex, underlay or ifindex):
            self._check_range(number)
        with self._lock:
            self._guards.guard(ifindex, guards.TUNNEL)
            if underlay is not None:
                self._guards.guard(underlay, guards.UNDERLAY)
                self._tables.ports.store(ifindex, tunnel_word())

    def release_port(self, ifindex: int) -> None:
        """Take our programs off a port of any kind, and nothing else."""
        with self._lock:
            for kind in (guards.VNIC, guards.APPLIANCE, guards.TUNNEL, guards.UNDERLAY):
                self._guards.release(ifindex, kind)
            self._forget(ifindex)

    def _forget(self, ifindex: int) -> None:
        self._guards.ports.pop(ifindex, None)
        self._wires.end(ifindex)
        self._appliances.end(ifindex)
        if 0 < ifindex < self._tables.ports.entries:
            self._tables.ports.store(ifindex, 0)

    def _forget_all_but(self, existing: set[int]) -> None:
        """Give back what belonged to ports that went while no agent looked."""
        for ifindex in {*self._wires.ports(), *self._appliances.ports()} - existing:
            self._forget(ifindex)

    # -- tables

    def apply(self, table: SteeringTable) -> None:
        """Bring the kernel's tables to ``table`` in the order that loses nothing (returns first, removals last).

        A path that is given up while it is active loses its returns before anything else happens. Raises
        ``TableFull`` before anything is switched.
        """
        with self._lock:
            self._application.revoke(find_revoked(self._table, table))
            self._vnics = {row.vnic: row.ifindex for row in table.wires}
            self._application.apply(table)
            self._table = table

    @property
    def writes(self) -> int:
        """Words and records written since this agent began; the same table again adds nothing."""
        return self._application.writes

    # -- looking after

    def verify(self) -> Sequence[str]:
        """Re-read that every program is attached, first and alone of its kind; repair, and say what was repaired."""
        with self._lock:
            return self._verify()

    def _verify(self) -> list[str]:
        for ifindex in self._guards.vanished():
            self._forget(ifindex)
        displaced = self._guards.displaced()
        if displaced:
            self._bring_second_instance()
            self._guards.reseat()
            return [f"{name} on interface {ifindex} was behind another program" for ifindex, name in displaced]
        return [f"{name} on interface {ifindex} was not in its place" for ifindex, name in self._guards.reseat()]

    def _bring_second_instance(self) -> None:
        """A program cannot be moved on its hook without taking it off; another instance of it can come before it."""
        beside = tables.load_beside(self._object, self._marks, self._tunnel_port, self._sizes, self._tables.map_fds)
        self._tables.take_programs_of(beside)

    def wire_counters(self, vnic: VnicId) -> WireCounters:
        """What the programs counted for the vnic's port since it was armed; empty when it has none here."""
        ifindex = self._vnics.get(vnic)
        if ifindex is None or not self._wires.has(ifindex):
            return WireCounters()
        return WireCounters(counting.read_wire(self._tables, self._wires.wire_place(ifindex)[0]))

    def announced(self, vnic: VnicId) -> bool:
        """True once the guest has sent a frame on this port."""
        ifindex = self._vnics.get(vnic)
        if ifindex is None or not self._wires.has(ifindex):
            return False
        slot, epoch = self._wires.wire_place(ifindex)
        return int.from_bytes(self._tables.announced.read(slot), "little") == epoch

    def appliance_counters(self, ifindex: int) -> dict[str, Count]:
        """What was counted at one appliance port; empty when it is not guarded."""
        slot = self._appliances.find(ifindex)
        return {} if slot is None else counting.read_appliance_port(self._tables, slot)

    def drops(self) -> dict[str, Count]:
        """Everything dropped on this server, by reason."""
        return counting.read_drops(self._tables)

    def conditions(self) -> Sequence[Condition]:
        """How the programs are attached here."""
        return [Condition("Steering", True, f"programs attached by {self._hooks.kind} (kernel {platform.release()})")]

    def trace(self, ifindex: int, direction: str, frame: bytes) -> list[str]:
        """What the live programs would do with ``frame`` from the vnic port on, in words, one line for each step.

        Raises ``ValueError`` for a direction other than egress and ingress, for an interface that is not here, and for
        what is not a frame.
        """
        if direction not in tuple(Direction):
            raise ValueError(f"{direction!r} is not a direction: egress or ingress")
        program = layout.FROM_GUEST if direction == Direction.EGRESS else layout.TO_GUEST
        return trace(self._tables, self._marks, self._table, Question(program, ifindex, frame))

    @property
    def entering_mark(self) -> int:
        """SO_MARK of a prover's socket: its frames may enter an appliance."""
        return self._marks.entering

    def close(self) -> None:
        """Let go of programs and tables; what is attached goes on, and the next agent takes it over."""
        self._tables.close()
