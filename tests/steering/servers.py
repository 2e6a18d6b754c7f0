"""Servers for packet tests: a fabric bridge, guests, and an appliance that forwards everything (a two-port bridge
that does not learn, since both its sides see every address)."""

from dataclasses import dataclass, field
from pathlib import Path

from outrider.domain.guest import VnicId
from outrider.domain.intent import Peer, ServerIntent, ServiceIntent, WireIntent
from outrider.domain.wire import Hop, WireState
from outrider.domain.wire import Path as WirePath
from outrider.pipeline.compile import LocalPorts, compile_table
from outrider.pipeline.table import SteeringTable
from outrider.steering.backend import EbpfSteering
from outrider.steering.tables import Sizes

from .stage import Stage, frame, inside

SMALL = Sizes(ifindexes=1 << 12, wires=64, appliance_ports=8, paths=256, steps=1024)
GUEST_MAC = "02:00:00:00:01:01"
CLIENT_MAC = "02:00:00:00:0c:01"


def vnic(number: int) -> VnicId:
    return VnicId(f"00000000-0000-0000-0000-{number:012x}", f"02:00:00:00:01:{number:02x}")


@dataclass
class Server:
    """One virtual server: its namespace, its ports, its programs."""

    stage: Stage
    name: str
    cache: Path
    guests: dict[VnicId, str] = field(default_factory=dict)
    appliances: dict[str, tuple[str, str]] = field(default_factory=dict)
    tunnel: int | None = None
    force_clsact: bool = False

    def __post_init__(self) -> None:
        self.stage.sh(self.name, "ip link add br0 type bridge mcast_snooping 0 && ip link set br0 up")
        self.steering = self.start_agent()

    def start_agent(self) -> EbpfSteering:
        with inside(self.stage.namespace(self.name)):
            return EbpfSteering(self.name, cache_dir=self.cache, sizes=SMALL, force_clsact=self.force_clsact)

    def restart_agent(self) -> None:
        """A new agent beside the old one, which then goes."""
        fresh = self.start_agent()
        self.steering.close()
        self.steering = fresh

    def add_guest(self, number: int, arm: bool = True) -> VnicId:
        """A guest in a namespace of its own: eth0 with the vnic's address."""
        me, port, home = vnic(number), f"vnic{number}", f"g{number}"
        self.stage.pair((self.name, port), (home, "eth0"))
        self.stage.sh(home, f"ip link set eth0 address {me.mac} && ip addr add 10.9.0.{number}/24 dev eth0")
        self.stage.sh(self.name, f"ip link set {port} master br0")
        self.guests[me] = port
        if arm:
            with self.inside():
                self.steering.arm(self.ifindex(port))
        return me

    def add_client(self, number: int = 200) -> None:
        home = f"c{number}"
        self.stage.pair((self.name, f"client{number}"), (home, "eth0"))
        self.stage.sh(home, f"ip link set eth0 address {CLIENT_MAC} && ip addr add 10.9.0.{number}/24 dev eth0")
        self.stage.sh(self.name, f"ip link set client{number} master br0")

    def add_appliance(self, name: str, guard: bool = True) -> None:
        """A two-port bridge in a namespace, of MTU 1508: room for lane and one tag."""
        inport, outport = f"{name}-in", f"{name}-out"
        self.stage.pair((self.name, inport), (f"v-{name}", "in"), mtu=1508)
        self.stage.pair((self.name, outport), (f"v-{name}", "out"), mtu=1508)
        self.stage.sh(
            f"v-{name}",
            "ip link add name mid type bridge mcast_snooping 0 && ip link set mid up && for port in in out; do "
            "ip link set dev $port master mid && bridge link set dev $port learning off flood on || exit 1; done",
        )
        self.appliances[name] = (inport, outport)
        if guard:
            with self.inside():
                self.steering.guard_appliance_ports(self.ifindex(inport), self.ifindex(outport))

    def add_tunnel(self, number: int) -> None:
        """An underlay link to the switch namespace, and the tunnel device on it."""
        self.stage.pair((self.name, "under"), ("underlay", f"u{number}"), mtu=1600)
        self.stage.sh("underlay", "ip link show dev sw >/dev/null 2>&1 || ip link add sw type bridge mcast_snooping 0")
        self.stage.sh("underlay", f"ip link set sw mtu 1600 up && ip link set u{number} master sw")
        self.stage.sh(self.name, f"ip addr add 10.8.0.{number}/24 dev under")
        self.stage.sh(self.name, "ip link add or-tunnel type vxlan external dstport 4790")
        self.stage.sh(self.name, "ip link set or-tunnel mtu 1504 up")
        self.tunnel = self.ifindex("or-tunnel")
        with self.inside():
            self.steering.guard_tunnel(self.tunnel, self.ifindex("under"))

    def inside(self):
        return inside(self.stage.namespace(self.name))

    def ifindex(self, port: str) -> int:
        return self.stage.ifindex(self.name, port)

    def ports(self) -> LocalPorts:
        return LocalPorts(
            {me: self.ifindex(port) for me, port in self.guests.items()},
            {name: (self.ifindex(a), self.ifindex(b)) for name, (a, b) in self.appliances.items()},
            self.tunnel,
        )

    def apply(
        self,
        *wires: WireIntent,
        services: tuple[ServiceIntent, ...] = (),
        peers: tuple[Peer, ...] = (),
        released: frozenset[VnicId] = frozenset(),
    ) -> SteeringTable:
        intent = ServerIntent(self.name, 1, wires, services, (), peers)
        table = compile_table(intent, self.ports(), released)
        with self.inside():
            self.steering.apply(table)
        return table

    def local_path(self, number: int, appliance: str, lane: int) -> WirePath:
        return WirePath(number, (Hop(appliance, self.name, lane),))

    def frames(self, me: VnicId, counter: str) -> int:
        return self.steering.wire_counters(me).frames(counter)


def wire(me: VnicId, *paths: WirePath, active: int | None = None, **more) -> WireIntent:
    """A wire that takes its last path, unless told otherwise; held without any."""
    chosen = active if active is not None else (paths[-1].id if paths else None)
    state = WireState.PATH if paths else WireState.HOLD
    return WireIntent(me, "guest", **{"state": state, "paths": paths, "active": chosen, **more})


def talk(stage: Stage, guest: str = "g1", client: str = "c200", count: int = 3) -> tuple[int, int]:
    """``count`` frames each way; how many arrived at the client, and at the guest."""
    here, there = stage.station(guest, "eth0"), stage.station(client, "eth0")
    out = back = 0
    for number in range(count):
        here.send(frame(GUEST_MAC, CLIENT_MAC, b"out%d;" % number))
        out += there.receive(b"out%d;" % number) is not None
        there.send(frame(CLIENT_MAC, GUEST_MAC, b"in%d;" % number))
        back += here.receive(b"in%d;" % number) is not None
    return out, back
