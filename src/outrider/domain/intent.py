"""Intents: what one server should do, as one whole value. The agent makes it so; nothing is sent as a command.

Two kinds of rows describe a path. On the wire's own server a ``WireIntent`` lists every path whose returns must be
in place (``paths``) and the one that new packets take (``active``). On the server of a remote hop's appliance a
``ServiceIntent`` maps (peer, key) to a lane of the appliance, and what comes out back to the peer.
"""

from dataclasses import dataclass, field

from outrider.domain.appliance import ApplianceClass
from outrider.domain.guest import VnicId
from outrider.domain.ruleset import RuleSet
from outrider.domain.wire import OpenReason, Path, WireState


@dataclass(frozen=True, slots=True)
class WireIntent:
    """How the port of ``vnic`` on this server treats packets.

    ``await_announcement``: deliver nothing to the guest before its first frame from here (DESIGN 4.3, two copies).
    ``pending``: the wire holds only until other servers have put their part of its path in place.
    ``reason`` is what ``explain`` prints.
    """

    vnic: VnicId
    guest_name: str
    state: WireState
    paths: tuple[Path, ...] = ()
    active: int | None = None
    await_announcement: bool = False
    open_reason: OpenReason | None = None
    policy: str | None = None
    pending: bool = False
    reason: str = field(default="", compare=False)  # a change of words alone is no new intent


@dataclass(frozen=True, slots=True)
class ServiceIntent:
    """A hop this server provides to a wire of ``peer_server`` (whose tunnel address is ``peer_address``)."""

    path: int
    appliance: str
    lane: int
    key: int
    peer_server: str
    peer_address: str


@dataclass(frozen=True, slots=True)
class ApplianceIntent:
    """An appliance that must exist on this server."""

    name: str
    appliance_class: ApplianceClass
    ruleset: RuleSet | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """Another server as seen through the tunnel."""

    server: str
    tunnel_address: str


@dataclass(frozen=True, slots=True)
class ServerIntent:
    """Everything one server should do. ``generation`` grows whenever the rest differs."""

    server: str
    generation: int = 0
    wires: tuple[WireIntent, ...] = ()
    services: tuple[ServiceIntent, ...] = ()
    appliances: tuple[ApplianceIntent, ...] = ()
    peers: tuple[Peer, ...] = ()
