"""Steering tables: how a server's packets are to be steered, as one value.

Rows speak of wires, appliances' ports and tunnel identifiers, never of slots, words or marks: how a row becomes state
in a data path is the backend's business, and the eBPF backend is only the first of several (DESIGN 4.3, Backends).
Two equal tables steer alike, so applying one twice changes nothing.

Interfaces are named by ifindex, which only means something in this server's network namespace.
"""

from dataclasses import dataclass
from enum import StrEnum

from outrider.domain.guest import VnicId
from outrider.domain.wire import Direction, OpenReason, WireState


class Side(StrEnum):
    """The two data ports of an inline appliance."""

    INPORT = "inport"  # towards the guest
    OUTPORT = "outport"  # towards the network


@dataclass(frozen=True, slots=True)
class Deliver:
    """Back to the wire's own port, marked as inspected: to the fabric (egress) or to the guest (ingress)."""

    vnic: VnicId
    ifindex: int
    direction: Direction


@dataclass(frozen=True, slots=True)
class Enter:
    """Into an appliance of this server by the port ``ifindex``, tagged with ``lane``."""

    appliance: str
    side: Side
    ifindex: int
    lane: int
    direction: Direction


@dataclass(frozen=True, slots=True)
class Tunnel:
    """To the server at ``peer`` (IPv4), under ``tunnel_id`` (hop key * 2 + direction), by the device ``ifindex``."""

    ifindex: int
    peer: str
    tunnel_id: int
    direction: Direction


Step = Deliver | Enter | Tunnel


@dataclass(frozen=True, slots=True)
class WireRow:
    """How one vnic port treats a packet that has not been inspected.

    ``active`` is the id of the path that new packets take, given exactly when ``state`` is ``PATH``. ``attached`` are
    the ids of all paths whose rows this table contains.
    """

    vnic: VnicId
    ifindex: int
    state: WireState
    active: int | None = None
    await_announcement: bool = False
    open_reason: OpenReason | None = None
    attached: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PathRow:
    """The first step of path ``id``, from the wire's port, for each direction."""

    id: int
    egress: Step
    ingress: Step

    def first(self, direction: Direction) -> Step:
        """The first step for packets of ``direction``."""
        return self.egress if direction is Direction.EGRESS else self.ingress


@dataclass(frozen=True, slots=True)
class LaneRow:
    """Where what leaves the appliance port ``ifindex`` on ``lane`` goes next."""

    ifindex: int
    lane: int
    path: int
    step: Step


@dataclass(frozen=True, slots=True)
class KeyRow:
    """Where what arrives under ``tunnel_id`` goes next; only the server at ``sender`` (IPv4) may use it."""

    tunnel_id: int
    sender: str
    path: int
    step: Step


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """A hop in place here for a wire of another server (its rows are among the lanes and keys)."""

    path: int
    appliance: str


@dataclass(frozen=True, slots=True)
class AppliancePort:
    """One data port of an appliance of this server."""

    appliance: str
    side: Side
    ifindex: int


@dataclass(frozen=True, slots=True)
class SteeringTable:
    """Everything one server's data path should do; ``problems`` says, one sentence each, what was left out and why."""

    wires: tuple[WireRow, ...] = ()
    paths: tuple[PathRow, ...] = ()
    lanes: tuple[LaneRow, ...] = ()
    keys: tuple[KeyRow, ...] = ()
    services: tuple[ServiceRow, ...] = ()
    appliance_ports: tuple[AppliancePort, ...] = ()
    problems: tuple[str, ...] = ()
