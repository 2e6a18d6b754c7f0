"""The bed that rigs are measured on: namespaces for servers, guests and clients, joined by short cables.

It uses the lab's own parts, so what a killed run left is found and swept by the next one like any lab. Servers are
joined back to back by the underlay cable, and a client may sit on a server's own bridge: the shortest direct path there
is, which makes it the hardest to compare with.
"""

import socket
from types import TracebackType
from typing import Any

from outrider.lab import fabric
from outrider.lab.bench.outpost import Outpost
from outrider.lab.lab import Lab
from outrider.lab.paths import RUN_ROOT, LabError, LabPaths
from outrider.lab.processes import hold_namespaces
from outrider.lab.record import ProcessRecord
from outrider.lab.remains import sweep

BED = "bench"
FIRST_SERVER, SECOND_SERVER = "s1", "s2"


class Bed:
    """A fresh set of namespaces, as a context. Raises ``LabError`` when another bench uses this machine's bed."""

    def __init__(self, name: str = BED) -> None:
        self.paths = LabPaths.of(name, RUN_ROOT)
        self._lab_paths = LabPaths.of(f"{name}-lab", RUN_ROOT)
        self._outposts: list[Outpost] = []
        self._lock = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> "Bed":
        try:
            # An abstract name vanishes with its holder, however that ends.
            self._lock.bind(f"\0outrider-bench-{self.paths.name}")
        except OSError:
            self._lock.close()
            raise LabError("another bench is running on this machine: two would measure each other") from None
        self._sweep()
        self.paths.home.mkdir(parents=True)
        self.paths.logs.mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            for outpost in self._outposts:
                outpost.close()
            self._sweep()
        finally:
            self._lock.close()

    def _sweep(self) -> None:
        for paths in (self._lab_paths, self.paths):
            sweep(paths)

    def lab(self) -> Lab:
        """A lab of the bed's own, not up yet; it goes with the bed."""
        return Lab(self._lab_paths.name)

    def namespace(self, name: str) -> ProcessRecord:
        """New namespaces, silent but for what is sent there on purpose."""
        holder = hold_namespaces(self.paths.home, name)
        fabric.quieten(self.paths, holder)
        return holder

    def server(self, name: str) -> ProcessRecord:
        """Namespaces with a fabric bridge."""
        holder = self.namespace(name)
        self.run_ip(
            holder,
            f"link add {fabric.FABRIC_BRIDGE} mtu {fabric.FABRIC_MTU} type bridge stp_state 0 forward_delay 0 "
            "mcast_snooping 0",
            f"link set {fabric.FABRIC_BRIDGE} up",
        )
        return holder

    def join(self, one: ProcessRecord, other: ProcessRecord) -> tuple[str, str]:
        """Lay an underlay cable between two servers; returns their addresses on it."""
        addresses = (f"{fabric.UNDERLAY_PREFIX}.1", f"{fabric.UNDERLAY_PREFIX}.2")
        name, mtu = fabric.TUNNEL_INTERFACE, fabric.UNDERLAY_MTU
        self.run_ip(
            one,
            f"link add {name} mtu {mtu} type veth peer name {name} mtu {mtu} netns {other.pid}",
        )
        for server, address in zip((one, other), addresses, strict=True):
            self.run_ip(server, f"address add {address}/24 dev {name}", f"link set {name} up")
        return addresses

    def plug(self, server: ProcessRecord, port: str, inside: ProcessRecord, address: str, mac: str) -> None:
        """Give ``inside`` a network card whose other end is ``port`` of the server, still down and in no bridge."""
        mtu = fabric.FABRIC_MTU
        self.run_ip(
            server,
            f"link add {port} mtu {mtu} type veth peer name eth0 address {mac} mtu {mtu} netns {inside.pid}",
        )
        self.run_ip(inside, f"address add {address}/24 dev eth0", "link set eth0 up")

    def connect(self, server: ProcessRecord, port: str) -> None:
        """Make ``port`` a working port of the server's bridge."""
        self.run_ip(server, f"link set {port} master {fabric.FABRIC_BRIDGE}", f"link set {port} up")

    def run_ip(self, where: ProcessRecord, *commands: str) -> None:
        """As ``fabric.run_ip``."""
        fabric.run_ip(self.paths, where, *commands)

    def outpost(self, where: ProcessRecord, kind: type, *arguments: Any) -> Outpost:
        """An outpost that ends with the bed."""
        outpost = Outpost(self.paths, where, kind, *arguments)
        self._outposts.append(outpost)
        return outpost
