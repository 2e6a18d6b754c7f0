"""A server's data path in an outpost: the real programs and tables, told what to do by the bench instead of an agent.

Appliances are made as the product makes them (the same ports, engines and order), but kept by the bench: a rig for
throughput has no use for an appliance that is proved every few seconds meanwhile.
"""

import socket
import time
from dataclasses import dataclass
from pathlib import Path

from outrider.appliances.container import launch_container
from outrider.appliances.engine import Engine
from outrider.appliances.ports import TAG_ROOM_BYTES, AppliancePorts, bring_up, create_veths
from outrider.appliances.record import ApplianceFolder
from outrider.domain.appliance import ApplianceClass, ApplianceFormat
from outrider.domain.guest import VnicId
from outrider.domain.intent import ServerIntent
from outrider.domain.ruleset import RuleSet
from outrider.lab.bench import static_chain
from outrider.lab.bench.static_chain import StaticHop
from outrider.lab.fabric import FABRIC_MTU
from outrider.links import NetlinkLinks
from outrider.pipeline.compile import LocalPorts, compile_table
from outrider.steering.backend import EbpfSteering

TUNNEL_DEVICE = "or-tunnel"
TUNNEL_UDP_PORT = 4790
STATIC_TUNNEL_DEVICE = "st-tunnel"
STATIC_UDP_PORT = 4791  # the kernel refuses a second external device on one port
_LANE_BYTES = 4
_RULES = RuleSet("bench", 'drop tcp any any -> any 80 (msg:"bench"; content:"/attack"; http_uri; sid:1000001;)\n')


@dataclass(frozen=True, slots=True)
class Applied:
    """How long one application took, in seconds: making the table of ``rows``, and its way into the kernel.

    ``ended_ns`` is when it returned, by the kernel's monotonic clock.
    """

    compile_s: float
    apply_s: float
    rows: int
    ended_ns: int


@dataclass(frozen=True, slots=True)
class MadeAppliance:
    """An appliance of the bench: its ports' ifindexes, and the process that keeps its namespace."""

    inport: int
    outport: int
    pid: int


class Steersman:
    """Steers one server. ``folder`` is where its appliances keep their files."""

    def __init__(self, server: str, cache_dir: Path, folder: Path) -> None:
        self._cache_dir, self._folder = cache_dir, folder
        self._links = NetlinkLinks()
        self._steering = EbpfSteering(server, cache_dir=cache_dir)
        self._appliances: dict[str, tuple[int, int]] = {}
        self._armed: dict[VnicId, int] = {}
        self._vnics: dict[VnicId, int] = {}
        self._tunnel: int | None = None

    # -- ours

    def open_tunnel(self) -> int:
        """Make and guard the product's tunnel device; its ifindex."""
        self._tunnel = self._links.ensure_tunnel(TUNNEL_DEVICE, TUNNEL_UDP_PORT, FABRIC_MTU + _LANE_BYTES)
        self._steering.guard_tunnel(self._tunnel)
        return self._tunnel

    def arm(self, vnic: VnicId, port: str) -> int:
        """Arm the interface ``port`` as the port of ``vnic``; its ifindex."""
        ifindex = socket.if_nametoindex(port)
        self._steering.arm(ifindex)
        self._armed[vnic] = ifindex
        self._vnics[vnic] = ifindex
        return ifindex

    def claim(self, vnics: dict[VnicId, int]) -> None:
        """Take ``vnics``, whose ports exist in name only, for those that were claimed before: their rows go unused."""
        self._vnics = {**self._armed, **vnics}

    def apply(self, intent: ServerIntent) -> Applied:
        """Put ``intent`` in place; raises ``ValueError`` when any part of it had to be left out."""
        began = time.perf_counter()
        table = compile_table(intent, LocalPorts(self._vnics, self._appliances, self._tunnel))
        compiled = time.perf_counter()
        if table.problems:
            raise ValueError(table.problems[0])
        self._steering.apply(table)
        applied, ended_ns = time.perf_counter(), time.monotonic_ns()
        rows = len(table.wires) + len(table.paths) + len(table.lanes) + len(table.keys)
        return Applied(compiled - began, applied - compiled, rows, ended_ns)

    def counted(self, vnic: VnicId) -> dict[str, int]:
        """Frames counted for the wire of ``vnic``, by name of counter."""
        return {name: count.frames for name, count in self._steering.wire_counters(vnic).counts.items()}

    # -- appliances

    def make_appliance(self, name: str, image: str, guarded: bool = True) -> MadeAppliance:
        """A container appliance with its ports up; unguarded it is one for the static chain, and not ours to steer."""
        made = ApplianceClass(f"bench-{image}", ("none",), image, ApplianceFormat.CONTAINER)
        engine, ports = Engine.of(made), AppliancePorts.of(name)
        folder = ApplianceFolder.of(self._folder, name)
        folder.make()

        def create_ports(pid: int) -> None:
            create_veths(ports, FABRIC_MTU + TAG_ROOM_BYTES, pid, offloads=not engine.inspects)
            if guarded:
                self._steering.guard_appliance_ports(*_found(ports))
            bring_up(ports)

        script = engine.container_script(folder, _RULES if engine.inspects else None)
        process = launch_container(script, folder.path, create_ports)
        if guarded:
            self._appliances[name] = _found(ports)
        return MadeAppliance(*_found(ports), process.pid)

    # -- the static chain

    def open_static_tunnel(self) -> int:
        """Make the static chain's own tunnel device; its ifindex."""
        return self._links.ensure_tunnel(STATIC_TUNNEL_DEVICE, STATIC_UDP_PORT, FABRIC_MTU + _LANE_BYTES)

    def lay_static_local(self, port: str, hop: StaticHop) -> None:
        """See ``static_chain.lay_local``."""
        static_chain.lay_local(self._cache_dir, socket.if_nametoindex(port), hop)

    def lay_static_remote_wire(self, port: str, tunnel: int, peer: str, key: int) -> None:
        """See ``static_chain.lay_remote_wire``."""
        static_chain.lay_remote_wire(self._cache_dir, socket.if_nametoindex(port), tunnel, peer, key)

    def lay_static_remote_service(self, tunnel: int, peer: str, key: int, hop: StaticHop) -> None:
        """See ``static_chain.lay_remote_service``."""
        static_chain.lay_remote_service(self._cache_dir, tunnel, peer, key, hop)


def _found(ports: AppliancePorts) -> tuple[int, int]:
    found = ports.ifindexes()
    if found is None:
        raise ValueError(f"the ports {' and '.join(ports.both)} are gone")
    return found
