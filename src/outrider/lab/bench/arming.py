"""How soon a port is armed after it appears, and whether anything passes before.

Both are asked of a real agent process in a server of a lab: it hears of ports through netlink, or through its hook
socket, exactly as on a host; and both are answered by a witness that asks the kernel, not the agent.
"""

import socket
import time
import uuid
from collections.abc import Iterator

from pyroute2 import IPRoute

from outrider.domain.guest import GuestState
from outrider.hypervisors.containers import ContainerDescription
from outrider.lab.arming import request_arming
from outrider.lab.bench.bed import FIRST_SERVER, Bed
from outrider.lab.bench.figure import Figure
from outrider.lab.bench.flooder import Flooder
from outrider.lab.bench.outpost import Outpost
from outrider.lab.bench.witness import Witness, received
from outrider.lab.commands import AGENT
from outrider.lab.lab import Lab

_ARMED_WITHIN_S = 5.0
_FLOOD_S = 0.3
_PORT = "vcbench"  # of the names that a lab's agents arm on sight


class PortMaker:
    """Makes ports in the server's namespace and takes the time until they are armed; lives in an outpost there."""

    def __init__(self) -> None:
        self._ip = IPRoute()
        self._witness = Witness()

    def arm_ms(self, at_once: int) -> list[float]:
        """Make ``at_once`` ports together; for each, milliseconds from asking for it until it was armed.

        From asking: the kernel takes a part of it to make the port. The ports are gone afterwards.
        """
        names = [f"{_PORT}{number}" for number in range(at_once)]
        asked = {}
        for name in names:
            asked[name] = time.perf_counter()
            self._ip.link("add", ifname=name, kind="veth", peer=f"p{name}")
        took = []
        for name in names:
            self._witness.wait_armed(socket.if_nametoindex(name), _ARMED_WITHIN_S)
            took.append((time.perf_counter() - asked[name]) * 1e3)
        for name in names:
            self._ip.link("del", ifname=name)
        return took

    def unseen(self, port: str) -> int:
        """Frames that the device received and the port's programs never met. Raises ``ValueError`` without any."""
        arrived = received(port)
        if not arrived:
            raise ValueError(f"no frame arrived at {port}: there was no flood")
        return arrived - self._witness.first_met(port)


class Listener:
    """Counts what comes to an unprotected machine on the same bridge; lives in an outpost there."""

    def heard(self) -> int:
        """Frames received so far."""
        return received("eth0")


def measure_arming(bed: Bed, ports: int, burst: int) -> Iterator[Figure]:
    """Milliseconds from asking for a port until it is armed, for ``ports`` ports one by one and ``burst`` together."""
    maker = _maker(bed, _agent_lab(bed))
    maker.call("arm_ms", 1)
    one_by_one = [took for _ in range(ports) for took in maker.call("arm_ms", 1)]
    yield Figure.of("arm_ms", one_by_one, at_once=1)
    together = [took for _ in range(ports // burst) for took in maker.call("arm_ms", burst)]
    yield Figure.of("arm_ms", together, at_once=burst)


def measure_flood(bed: Bed, guests: int) -> Iterator[Figure]:
    """Frames of flooding guests that passed their ports before these were armed, or came out on the bridge."""
    lab = _agent_lab(bed)
    maker = _maker(bed, lab)
    server = lab.status().servers[FIRST_SERVER].holder
    client = bed.namespace("listener")
    bed.plug(server, "listener", client, "10.9.0.100", "52:54:00:be:00:64")
    bed.connect(server, "listener")
    listener = bed.outpost(client, Listener)
    unseen = []
    for number in range(guests):
        before = listener.call("heard")
        passed = _flood_once(bed, lab, maker, number)
        unseen.append(max(passed, listener.call("heard") - before))
    yield Figure.of("frames_before_arming", unseen)


def _flood_once(bed: Bed, lab: Lab, maker: Outpost, number: int) -> int:
    """Start one guest that floods, in the product's order: port down, armed and acknowledged, then up."""
    server = lab.status().servers[FIRST_SERVER].holder
    guest, mac, port = bed.namespace(f"flood{number}"), f"52:54:00:be:01:{number:02x}", f"vf{number}"
    bed.plug(server, port, guest, f"10.9.1.{number + 1}", mac)
    flooder = bed.outpost(guest, Flooder, mac)
    flooder.call("begin")
    identity = str(uuid.UUID(int=number + 1))
    description = ContainerDescription(identity, f"flood{number}", GuestState.ARRIVING, {}, ((mac, port),))
    request_arming(lab.paths.server(FIRST_SERVER).hook_socket, description.to_json(), "start")
    bed.connect(server, port)
    time.sleep(_FLOOD_S)  # the flood itself: everything it sends must have been met
    flooder.call("stop")
    unseen: int = maker.call("unseen", port)
    bed.run_ip(server, f"link del {port}")
    return unseen


def _agent_lab(bed: Bed) -> Lab:
    """A lab of one server whose agent has no controller: what it does not know it holds."""
    lab = bed.lab()
    lab.up([FIRST_SERVER], libvirt=False, agent=AGENT)
    return lab


def _maker(bed: Bed, lab: Lab) -> Outpost:
    return bed.outpost(lab.status().servers[FIRST_SERVER].holder, PortMaker)
