"""Five ways from a guest to a client, all laid at once on one bed, so that any two can be measured in turn.

========================  ==================================================================================
line                      what its packets take
========================  ==================================================================================
direct                    the server's bridge and nothing else: no program, no encapsulation
local                     a wire whose appliance is on the same server
local-static              the same detour by the hand-written chain, through an appliance of its own
remote                    a wire whose appliance is on the other server, there and back over the tunnel
remote-static             the same by the hand-written chain, through a tunnel and an appliance of its own
========================  ==================================================================================

Each line has a guest, a port and an appliance of its own; all guests share the bridge that the client is plugged into.
"""

import contextlib
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from outrider.domain.guest import VnicId
from outrider.domain.intent import Peer, ServerIntent, ServiceIntent, WireIntent
from outrider.domain.wire import Hop, WireState
from outrider.domain.wire import Path as WirePath
from outrider.lab.bench.bed import FIRST_SERVER, SECOND_SERVER, Bed
from outrider.lab.bench.outpost import Outpost
from outrider.lab.bench.static_chain import StaticHop
from outrider.lab.bench.steersman import MadeAppliance, Steersman
from outrider.lab.netns_socket import open_socket_in
from outrider.lab.paths import LabError
from outrider.lab.record import ProcessRecord

CLIENT_ADDRESS = "10.9.0.100"
ECHO_PORT = 7
_PASSES_WITHIN_S = 15.0
_LANE, _KEY = 7, 5


class Way(StrEnum):
    """The lines there are."""

    DIRECT = "direct"
    LOCAL = "local"
    LOCAL_STATIC = "local-static"
    REMOTE = "remote"
    REMOTE_STATIC = "remote-static"


_NUMBERS = {way: number for number, way in enumerate(Way, start=1)}


@dataclass(frozen=True, slots=True)
class Line:
    """One way, laid: its guest's namespaces, address and port on the server."""

    way: Way
    guest: ProcessRecord
    address: str
    port: str
    vnic: VnicId


class Circuit:
    """The lines ``ways`` on ``bed``, through container appliances of ``image``. Raises ``LabError``."""

    def __init__(self, bed: Bed, cache_dir: Path, image: str, ways: Sequence[Way] = tuple(Way)) -> None:
        self._bed, self._cache_dir, self._image = bed, cache_dir, image
        self.server = bed.server(FIRST_SERVER)
        self.client = bed.namespace("client")
        self.home = self._steersman(FIRST_SERVER, self.server)
        bed.plug(self.server, "client", self.client, CLIENT_ADDRESS, "52:54:00:be:00:64")
        bed.connect(self.server, "client")
        if any(way in ways for way in (Way.REMOTE, Way.REMOTE_STATIC)):
            other = bed.server(SECOND_SERVER)
            self._addresses = bed.join(self.server, other)
            self.away = self._steersman(SECOND_SERVER, other)
        self.lines = {way: self._line(way) for way in ways}
        self._lay_ours()
        self._lay_static()
        for line in self.lines.values():
            bed.connect(self.server, line.port)
        for line in self.lines.values():
            self._wait_passing(line)

    def _steersman(self, name: str, server: ProcessRecord) -> Outpost:
        folder = self._bed.paths.home / name
        return self._bed.outpost(server, Steersman, name, self._cache_dir, folder)

    def _line(self, way: Way) -> Line:
        number = _NUMBERS[way]
        guest = self._bed.namespace(way)
        mac, address, port = f"52:54:00:be:00:{number:02x}", f"10.9.0.{number}", f"v{number}"
        self._bed.plug(self.server, port, guest, address, mac)
        return Line(way, guest, address, port, VnicId(str(uuid.UUID(int=number)), mac))

    # -- ours

    def _lay_ours(self) -> None:
        wires = []
        if local := self.lines.get(Way.LOCAL):
            self.home.call("make_appliance", "near", self._image)
            wires.append(self._wire(local, Hop("near", FIRST_SERVER, _LANE)))
        if remote := self.lines.get(Way.REMOTE):
            self.home.call("open_tunnel")
            self._lay_service()
            wires.append(self._wire(remote, Hop("far", SECOND_SERVER, _LANE, _KEY)))
        if wires:
            peers = (Peer(SECOND_SERVER, self._addresses[1]),) if remote else ()
            self.home.call("apply", ServerIntent(FIRST_SERVER, 1, tuple(wires), peers=peers))

    def _wire(self, line: Line, hop: Hop) -> WireIntent:
        self.home.call("arm", line.vnic, line.port)
        path = WirePath(_NUMBERS[line.way], (hop,))
        return WireIntent(line.vnic, line.way, WireState.PATH, (path,), path.id)

    def _lay_service(self) -> None:
        self.away.call("open_tunnel")
        self.away.call("make_appliance", "far", self._image)
        service = ServiceIntent(_NUMBERS[Way.REMOTE], "far", _LANE, _KEY, FIRST_SERVER, self._addresses[0])
        self.away.call("apply", ServerIntent(SECOND_SERVER, 1, services=(service,)))

    # -- the static chain

    def _lay_static(self) -> None:
        if local := self.lines.get(Way.LOCAL_STATIC):
            made = self.home.call("make_appliance", "near-static", self._image, False)
            self.home.call("lay_static_local", local.port, _hop(made))
        if remote := self.lines.get(Way.REMOTE_STATIC):
            near, far = self.home.call("open_static_tunnel"), self.away.call("open_static_tunnel")
            made = self.away.call("make_appliance", "far-static", self._image, False)
            self.away.call("lay_static_remote_service", far, self._addresses[0], _KEY, _hop(made))
            self.home.call("lay_static_remote_wire", remote.port, near, self._addresses[1], _KEY)

    # -- is it a line?

    def _wait_passing(self, line: Line) -> None:
        """An engine takes a moment to start, and a bridge to forward."""
        deadline = time.monotonic() + _PASSES_WITHIN_S
        with udp_in(self.client) as there, udp_in(line.guest) as here:
            there.bind((CLIENT_ADDRESS, ECHO_PORT))
            here.settimeout(0.05)
            there.settimeout(0.05)
            while time.monotonic() < deadline:
                here.sendto(b"?", (CLIENT_ADDRESS, ECHO_PORT))
                with contextlib.suppress(TimeoutError):
                    _, sender = there.recvfrom(64)
                    there.sendto(b"!", sender)
                    here.recv(64)
                    return
        raise LabError(f"no packet comes through the {line.way} line within {_PASSES_WITHIN_S:g} s")


def udp_in(where: ProcessRecord) -> socket.socket:
    """A UDP socket in a namespace of the bed."""
    return open_socket_in(where.pid, socket.AF_INET, socket.SOCK_DGRAM)


def _hop(made: MadeAppliance) -> StaticHop:
    return StaticHop(made.inport, made.outport, _LANE)
