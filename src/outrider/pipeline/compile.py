"""From a server's intent, and the ports that exist there now, to its steering table.

A path is compiled whole or not at all: where an appliance's port, a peer's address or the tunnel is missing, none of
the path's rows are made, the wire that needs it is held, and ``problems`` says why. So the table never sends a packet
into something from which nothing comes back, and the safety property does not depend on the intent being possible.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from outrider.domain.guest import VnicId
from outrider.domain.intent import ServerIntent, ServiceIntent, WireIntent
from outrider.domain.wire import LAST_LANE, MAX_TUNNEL_KEY, Direction, Hop, OpenReason, Path, WireState
from outrider.pipeline.table import (
    AppliancePort,
    Deliver,
    Enter,
    KeyRow,
    LaneRow,
    PathRow,
    ServiceRow,
    Side,
    SteeringTable,
    Step,
    Tunnel,
    WireRow,
)

_ENTRY = {Direction.EGRESS: Side.INPORT, Direction.INGRESS: Side.OUTPORT}
_EXIT = {Direction.EGRESS: Side.OUTPORT, Direction.INGRESS: Side.INPORT}


@dataclass(frozen=True, slots=True)
class LocalPorts:
    """The interfaces of this server, by ifindex.

    ``vnics``: every vnic port present, with or without a wire; ``appliances``: (inport, outport) of those that exist;
    ``tunnel``: the tunnel device, None while there is none.
    """

    vnics: Mapping[VnicId, int] = field(default_factory=dict)
    appliances: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    tunnel: int | None = None

    def appliance_port(self, appliance: str, side: Side) -> int | None:
        """The ifindex of one data port, None while it does not exist."""
        pair = self.appliances.get(appliance)
        return pair[side is Side.OUTPORT] if pair else None


class _Impossible(Exception):
    """A path or service cannot be put in place now; the message is the reason."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of one path, or of one service."""

    lanes: tuple[LaneRow, ...]
    keys: tuple[KeyRow, ...]
    path: PathRow | None = None


def tunnel_id(key: int, direction: Direction) -> int:
    """The identifier on the air: the same towards the appliance's server and back."""
    return key * 2 + (direction is Direction.INGRESS)


def compile_table(intent: ServerIntent, ports: LocalPorts, released: frozenset[VnicId] = frozenset()) -> SteeringTable:
    """The table that puts ``intent`` in place as far as ``ports`` allow.

    Every vnic port present gets a row; one the intent does not know is held. The vnics in ``released`` (an operator's
    emergency bypass) are open, whatever the intent says.
    """
    return _Compilation(intent, ports).compile(released)


class _Compilation:
    def __init__(self, intent: ServerIntent, ports: LocalPorts) -> None:
        self._intent, self._ports = intent, ports
        self._peers = {peer.server: peer.tunnel_address for peer in intent.peers}
        self._lanes: dict[tuple[int, int], LaneRow] = {}
        self._keys: dict[int, KeyRow] = {}
        self._paths: list[PathRow] = []
        self._problems: list[str] = []

    def compile(self, released: frozenset[VnicId]) -> SteeringTable:
        by_vnic = {wire.vnic: wire for wire in self._intent.wires}
        wires = [
            self._wire(vnic, ifindex, by_vnic.get(vnic), vnic in released)
            for vnic, ifindex in sorted(self._ports.vnics.items())
        ]
        services = [row for service in self._intent.services if (row := self._service(service))]
        return SteeringTable(
            tuple(wires),
            tuple(self._paths),
            tuple(sorted(self._lanes.values(), key=lambda row: (row.ifindex, row.lane))),
            tuple(sorted(self._keys.values(), key=lambda row: row.tunnel_id)),
            tuple(services),
            tuple(self._appliance_ports()),
            tuple(self._problems),
        )

    def _appliance_ports(self) -> Iterator[AppliancePort]:
        for appliance, (inport, outport) in sorted(self._ports.appliances.items()):
            yield AppliancePort(appliance, Side.INPORT, inport)
            yield AppliancePort(appliance, Side.OUTPORT, outport)

    # -- wires

    def _wire(self, vnic: VnicId, ifindex: int, wire: WireIntent | None, is_released: bool) -> WireRow:
        attached = tuple(path.id for path in wire.paths if self._attach(vnic, ifindex, path)) if wire else ()
        if is_released:
            return WireRow(vnic, ifindex, WireState.OPEN, open_reason=OpenReason.RELEASED, attached=attached)
        if wire is None:
            return WireRow(vnic, ifindex, WireState.HOLD)
        awaiting = wire.await_announcement
        match wire.state:
            case WireState.OPEN:
                reason = wire.open_reason or OpenReason.NO_POLICY
                return WireRow(vnic, ifindex, WireState.OPEN, None, awaiting, reason, attached)
            case WireState.PATH if wire.active in attached:
                return WireRow(vnic, ifindex, WireState.PATH, wire.active, awaiting, None, attached)
            case WireState.PATH:
                self._problems.append(
                    f"wire of {wire.guest_name} ({vnic.mac}) is held: path {wire.active} is not in place"
                )
        return WireRow(vnic, ifindex, WireState.HOLD, None, awaiting, None, attached)

    def _attach(self, vnic: VnicId, ifindex: int, path: Path) -> bool:
        try:
            self._claim(self._path_rows(vnic, ifindex, path))
        except _Impossible as reason:
            self._problems.append(f"path {path.id} is left out: {reason}")
            return False
        return True

    def _path_rows(self, vnic: VnicId, ifindex: int, path: Path) -> _Rows:
        if not path.hops:
            raise _Impossible("it has no hop")
        lanes: list[LaneRow] = []
        keys: list[KeyRow] = []
        first: dict[Direction, Step] = {}
        for direction in Direction:
            hops = path.hops if direction is Direction.EGRESS else path.hops[::-1]
            steps: list[Step] = [self._into(hop, direction) for hop in hops]
            first[direction] = steps[0]
            onward = [*steps[1:], Deliver(vnic, ifindex, direction)]
            for hop, step in zip(hops, onward, strict=True):
                row = self._out_of(hop, direction, path.id, step)
                if isinstance(row, LaneRow):
                    lanes.append(row)
                else:
                    keys.append(row)
        row_of_path = PathRow(path.id, first[Direction.EGRESS], first[Direction.INGRESS])
        return _Rows(tuple(lanes), tuple(keys), row_of_path)

    def _into(self, hop: Hop, direction: Direction) -> Step:
        if hop.key is None:
            return self._enter(hop.appliance, hop.lane, direction)
        return self._tunnel(self._peer(hop.server), hop.key, direction)

    def _out_of(self, hop: Hop, direction: Direction, path: int, step: Step) -> LaneRow | KeyRow:
        if hop.key is None:
            return LaneRow(self._port(hop.appliance, _EXIT[direction]), hop.lane, path, step)
        return KeyRow(tunnel_id(hop.key, direction), self._peer(hop.server), path, step)

    # -- services

    def _service(self, service: ServiceIntent) -> ServiceRow | None:
        try:
            self._claim(self._service_rows(service))
        except _Impossible as reason:
            self._problems.append(f"path {service.path} of {service.peer_server} is not served: {reason}")
            return None
        return ServiceRow(service.path, service.appliance)

    def _service_rows(self, service: ServiceIntent) -> _Rows:
        lanes, keys = [], []
        for direction in Direction:
            enter = self._enter(service.appliance, service.lane, direction)
            back = self._tunnel(service.peer_address, service.key, direction)
            out = self._port(service.appliance, _EXIT[direction])
            keys.append(KeyRow(tunnel_id(service.key, direction), service.peer_address, service.path, enter))
            lanes.append(LaneRow(out, service.lane, service.path, back))
        return _Rows(tuple(lanes), tuple(keys))

    # -- parts

    def _claim(self, rows: _Rows) -> None:
        """Take ``rows`` in, all or none: a lane or key that two claim would mix two wires' packets."""
        for lane in rows.lanes:
            taken = self._lanes.get((lane.ifindex, lane.lane))
            if taken:
                raise _Impossible(f"lane {lane.lane} of the same appliance belongs to path {taken.path}")
        for key in rows.keys:
            holder = self._keys.get(key.tunnel_id)
            if holder:
                raise _Impossible(f"tunnel identifier {key.tunnel_id} belongs to path {holder.path}")
        self._lanes |= {(row.ifindex, row.lane): row for row in rows.lanes}
        self._keys |= {row.tunnel_id: row for row in rows.keys}
        if rows.path:
            self._paths.append(rows.path)

    def _enter(self, appliance: str, lane: int, direction: Direction) -> Enter:
        if not 0 < lane <= LAST_LANE:
            raise _Impossible(f"lane {lane} is not one of 1 to {LAST_LANE}")
        side = _ENTRY[direction]
        return Enter(appliance, side, self._port(appliance, side), lane, direction)

    def _port(self, appliance: str, side: Side) -> int:
        ifindex = self._ports.appliance_port(appliance, side)
        if ifindex is None:
            raise _Impossible(f"appliance {appliance} has no ports on {self._intent.server} yet")
        return ifindex

    def _tunnel(self, peer: str, key: int, direction: Direction) -> Tunnel:
        if not 0 < key <= MAX_TUNNEL_KEY:
            raise _Impossible(f"tunnel key {key} is not one of 1 to {MAX_TUNNEL_KEY}")
        if self._ports.tunnel is None:
            raise _Impossible("this server has no tunnel device")
        return Tunnel(self._ports.tunnel, peer, tunnel_id(key, direction), direction)

    def _peer(self, server: str) -> str:
        address = self._peers.get(server)
        if address is None:
            raise _Impossible(f"the tunnel address of server {server} is not known")
        return address
