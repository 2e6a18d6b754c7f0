"""The floor under every throughput figure: a wire's detour written out by hand, constants where ours has tables.

Each place on the way gets an instance of a program of its own (``static.bpf.c``), loaded with that place's numbers.
Only tcx is used: a kernel without it has no floor to show.
"""

import ipaddress
import struct
from dataclasses import dataclass
from pathlib import Path

from outrider.steering.build import build_programs
from outrider.steering.libbpf import open_object
from outrider.steering.syscall import F_BEFORE, TCX_EGRESS, TCX_INGRESS, attach, close_all

SOURCE = Path(__file__).parent / "static.bpf.c"
_PROGRAMS = ("st_wire_local", "st_wire_remote", "st_out_back", "st_out_tunnel", "st_tunnel_lane", "st_tunnel_back")
_CONSTANTS = struct.Struct("=6I")  # struct constants of the program
EGRESS_MARK, INGRESS_MARK = 0x0E5A_0100, 0x0E5A_0200


@dataclass(frozen=True, slots=True)
class Constants:
    """What one instance knows. ``port`` is an ifindex; ``ingress``: sent there as if received there."""

    port: int
    mark: int = 0
    lane: int = 0
    ingress: bool = False
    peer: str = "0.0.0.0"
    tunnel_id: int = 0

    def pack(self) -> bytes:
        """As the program has it."""
        peer = int(ipaddress.IPv4Address(self.peer))
        return _CONSTANTS.pack(self.mark, self.lane, self.port, self.ingress, peer, self.tunnel_id)


def attach_static(cache_dir: Path, ifindex: int, on_ingress: bool, program: str, constants: Constants) -> None:
    """Put an instance on a tc hook of a port (``on_ingress`` is the kernel's word). Raises ``OSError``."""
    with open_object(build_programs(cache_dir, SOURCE)) as opened:
        opened.set_constants(constants.pack())
        loaded = opened.load(_PROGRAMS, ())
    try:
        attach(ifindex, TCX_INGRESS if on_ingress else TCX_EGRESS, loaded.programs[program], F_BEFORE)
    finally:
        close_all(loaded.programs.values())


@dataclass(frozen=True, slots=True)
class StaticHop:
    """An appliance's two ports (ifindexes) and the lane through it."""

    inport: int
    outport: int
    lane: int


def lay_local(cache_dir: Path, vnic: int, hop: StaticHop) -> None:
    """Lead all packets of the port ``vnic`` through an appliance of the same server."""
    out = Constants(hop.inport, EGRESS_MARK, hop.lane)
    into = Constants(hop.outport, INGRESS_MARK, hop.lane)
    attach_static(cache_dir, vnic, True, "st_wire_local", out)
    attach_static(cache_dir, vnic, False, "st_wire_local", into)
    attach_static(cache_dir, hop.outport, True, "st_out_back", Constants(vnic, EGRESS_MARK, ingress=True))
    attach_static(cache_dir, hop.inport, True, "st_out_back", Constants(vnic, INGRESS_MARK))


def lay_remote_wire(cache_dir: Path, vnic: int, tunnel: int, peer: str, key: int) -> None:
    """Lead all packets of the port ``vnic`` over the tunnel device to ``peer``, and what comes back to the port."""
    for id_, mark, on_ingress in ((key * 2, EGRESS_MARK, True), (key * 2 + 1, INGRESS_MARK, False)):
        away = Constants(tunnel, mark, peer=peer, tunnel_id=id_)
        back = Constants(vnic, mark, ingress=on_ingress, tunnel_id=id_)
        attach_static(cache_dir, vnic, on_ingress, "st_wire_remote", away)
        attach_static(cache_dir, tunnel, True, "st_tunnel_back", back)


def lay_remote_service(cache_dir: Path, tunnel: int, peer: str, key: int, hop: StaticHop) -> None:
    """The other server's side: from the tunnel through the appliance, and back to ``peer``."""
    for id_, first, last in ((key * 2, hop.inport, hop.outport), (key * 2 + 1, hop.outport, hop.inport)):
        attach_static(cache_dir, tunnel, True, "st_tunnel_lane", Constants(first, lane=hop.lane, tunnel_id=id_))
        attach_static(cache_dir, last, True, "st_out_tunnel", Constants(tunnel, peer=peer, tunnel_id=id_))
